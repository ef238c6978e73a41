//! Lets nodes follow how often their keys have to be replaced.
//!
//! A key that is bound has its interval from then on (`registration`). What comes later is done here: another key policy, which
//! identity's log tells and the sweep lets all nodes follow, some at a time; and other tags or another word of an administrator.

use bowline_change_feed::{IdentityLog, Update};
use bowline_db::{ChangeLog, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{RotationRules, identity_change::Change},
    key_registry::v1::Node,
};
use serde_json::json;

use crate::{
    actors::REGISTRY_ACTOR,
    domain::rotation_interval,
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes, own_changes,
    store::{barred_users, node_keys, nodes, rotation_rules},
};

/// How many nodes follow new rules in one mutation.
const MOST_NODES: u32 = 100;

/// The rules that identity's log has last, and the revision that says so.
#[derive(Clone, Debug)]
pub(crate) struct HeardRules {
    rules: RotationRules,
    revision: u64,
}

impl HeardRules {
    /// Reads them from an update, if it speaks of them.
    pub(crate) fn from_update(update: &Update<IdentityLog>) -> Option<Self> {
        let (tailnet, revision) = match update {
            Update::Snapshot(snapshot) => {
                let mut chunks = snapshot.chunks.iter();
                let tailnet = chunks.find_map(|chunk| chunk.tailnet.as_ref())?;
                (tailnet, snapshot.position.revision)
            }
            Update::Changes(found, _) => {
                let numbered = (found.from_revision + 1..).zip(&found.entries);
                let tailnets = numbered.filter_map(|(revision, entry)| match &entry.change {
                    Some(Change::Tailnet(tailnet)) => Some((tailnet, revision)),
                    _ => None,
                });
                tailnets.last()?
            }
        };
        let policy = tailnet.key_policy.as_ref();
        let rules = policy.and_then(|policy| policy.rotation.clone());
        Some(Self {
            rules: rules.unwrap_or_default(),
            revision,
        })
    }
}

/// Notes the rules that identity's log has last, unless another replica has noted newer ones.
pub(crate) async fn note_rules(
    mutation: &mut Mutation,
    heard: &HeardRules,
) -> Result<(), RegistryError> {
    let tailnet = mutation.tailnet().get();
    let on = mutation.connection();
    if barred_users::applied_revision(on, tailnet).await? > heard.revision {
        return Ok(());
    }
    if rotation_rules::of_tailnet(on, tailnet).await? != heard.rules {
        rotation_rules::put_rules(on, tailnet, &heard.rules).await?;
    }
    Ok(())
}

/// Gives a node that has other tags, or of which an administrator said something else, the interval that follows.
pub(crate) async fn follow_rules(
    mutation: &mut Mutation,
    before: &Node,
    node: &mut Node,
) -> Result<(), RegistryError> {
    if rotation_interval::needs_interval(before, node) {
        let rules = rotation_rules::of_tailnet(mutation.connection(), node.tailnet_id).await?;
        change_interval(mutation, &rules, node).await?;
    }
    Ok(())
}

async fn change_interval(
    mutation: &mut Mutation,
    rules: &RotationRules,
    node: &mut Node,
) -> Result<(), RegistryError> {
    let interval = rotation_interval::find_interval(rules, node, &node.tags);
    let now = mutation.now();
    let bound_at = node_keys::bound_at(mutation.connection(), &node.node_key).await?;
    rotation_interval::change_interval(node, interval, bound_at.unwrap_or(now), now);
    Ok(())
}

/// Lets all nodes of a tailnet follow its rules, some in one mutation.
pub(crate) async fn follow_new_rules(log: &ChangeLog, tailnet: u64) -> Result<(), RegistryError> {
    let tailnet = read_tailnet_id(tailnet)?;
    while follow_some(log, tailnet).await? {}
    Ok(())
}

/// Says whether there are more.
async fn follow_some(log: &ChangeLog, tailnet: TailnetId) -> Result<bool, RegistryError> {
    let following = log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
        Box::pin(async move {
            let tailnet = tailnet.get();
            let after = rotation_rules::followed_to(mutation.connection(), tailnet).await?;
            let Some(after) = after else { return Ok(false) };
            let rules = rotation_rules::of_tailnet(mutation.connection(), tailnet).await?;
            let found =
                nodes::list_after(mutation.connection(), tailnet, after, MOST_NODES).await?;
            let last = found.last().map(|node| node.id);
            let mut changed = Vec::new();
            for before in found {
                let mut node = before.clone();
                change_interval(mutation, &rules, &mut node).await?;
                if node != before {
                    own_changes::audit_deferred_change(mutation, &before).await?;
                    node_changes::write_node(mutation, &node, None).await?;
                    changed.push(node.id);
                }
            }
            rotation_rules::set_followed_to(mutation.connection(), tailnet, last).await?;
            if !changed.is_empty() {
                let detail = json!({ "nodes": changed });
                mutation.record_audit("nodes.rotation", "", &detail);
            }
            Ok::<_, RegistryError>(last.is_some())
        })
    });
    Ok(following.await?.0)
}
