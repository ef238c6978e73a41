//! What a user had who was merged into another: it is the other's from then on.

use bowline_db::Mutation;
use bowline_proto::identity::v1::User;
use serde_json::json;

use crate::{
    error::RegistryError,
    node_changes, own_changes,
    store::{merged_users, nodes, pre_auth_keys},
};

/// That a user is another now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserMerge {
    /// The number that is no user's own any more.
    pub(crate) former_id: u64,
    /// The user.
    pub(crate) user_id: u64,
    /// The user's name.
    pub(crate) login_name: String,
}

impl UserMerge {
    /// Returns the merges that made a user what it is.
    pub(crate) fn list_of(user: &User) -> impl Iterator<Item = Self> {
        let (user_id, login_name) = (user.id, user.login_name.clone());
        user.former_ids.iter().map(move |former_id| Self {
            former_id: *former_id,
            user_id,
            login_name: login_name.clone(),
        })
    }
}

/// Gives nodes and pre-auth keys to who has them now, once: names, addresses and keys stay. Says whether a node moved.
pub(crate) async fn move_belongings(
    mutation: &mut Mutation,
    merge: &UserMerge,
) -> Result<bool, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let UserMerge {
        former_id,
        user_id,
        login_name,
    } = merge;
    let on = mutation.connection();
    let is_new = merged_users::note_merged(on, tailnet, *former_id).await?;
    // Who registered a moment before the merge may have been written after it; those are few.
    let found = nodes::of_user(mutation.connection(), tailnet, *former_id).await?;
    let mut moved = Vec::new();
    for mut node in found {
        own_changes::audit_deferred_change(mutation, &node).await?;
        node.user_id = *user_id;
        node_changes::write_node(mutation, &node, None).await?;
        moved.push(node.name);
    }
    let mut keys = Vec::new();
    if is_new {
        let found = pre_auth_keys::of_tailnet(mutation.connection(), tailnet).await?;
        for mut key in found.into_iter().filter(|key| key.user_id == *former_id) {
            key.user_id = *user_id;
            pre_auth_keys::update_key(mutation.connection(), &key).await?;
            keys.push(key.id);
        }
    }
    let has_moved = !moved.is_empty();
    if has_moved || !keys.is_empty() {
        let detail = json!({ "former": former_id, "user": user_id, "nodes": moved, "keys": keys });
        mutation.record_audit("user.merge", login_name.clone(), &detail);
    }
    Ok(has_moved)
}
