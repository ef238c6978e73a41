//! Who is in a provider's group. Each member that comes or goes is one change of a user; the others are not read.

use std::collections::BTreeSet;

use bowline_db::Mutation;
use bowline_proto::identity::v1::{Connection, Group, GroupSource, Membership, User};
use bowline_scim::{ScimError, ScimType, member::MemberChange};
use serde_json::json;

use crate::{
    domain::group::{MOST_OF_USER, role_by_groups},
    error::IdentityError,
    memberships::{adopt_names, audit_change, write_user},
    store::{self, scim::ScimKey},
    users::require_user,
};

/// Returns the membership that a provider gives by SCIM.
fn scim_membership(group: &Group, connection: &Connection) -> Membership {
    Membership {
        group_id: group.id,
        source: GroupSource::Scim.into(),
        connection_id: connection.id,
    }
}

/// Changes who is in a group, and says whether anything has changed.
pub(super) async fn change_members(
    mutation: &mut Mutation,
    connection: &Connection,
    group: &Group,
    change: &MemberChange,
) -> Result<bool, IdentityError> {
    let (come, go) = match change {
        MemberChange::Add(ids) => (read_ids(ids)?, BTreeSet::new()),
        // Who is nobody is in no group.
        MemberChange::Remove(ids) => {
            let ids = ids.iter().filter_map(|id| id.parse().ok());
            (BTreeSet::new(), ids.collect())
        }
        MemberChange::Replace(ids) => {
            let wanted = read_ids(ids)?;
            let on = mutation.connection();
            let held = store::scim::list_members(on, connection.id, group.id).await?;
            let held: BTreeSet<u64> = held.into_iter().collect();
            let come = wanted.difference(&held).copied().collect();
            (come, held.difference(&wanted).copied().collect())
        }
    };
    let mut has_changed = false;
    for id in come {
        has_changed |= add_member(mutation, connection, group, id).await?;
    }
    for id in go {
        has_changed |= remove_member(mutation, connection, group, id).await?;
    }
    Ok(has_changed)
}

fn read_ids(ids: &[String]) -> Result<BTreeSet<u64>, IdentityError> {
    let read = |id: &String| id.parse().map_err(|_| no_member(id));
    ids.iter().map(read).collect()
}

fn no_member(id: impl std::fmt::Display) -> IdentityError {
    let detail =
        format!("there is no user \"{id}\" of this provider: bring the user before the group");
    ScimError::value(detail).into()
}

async fn add_member(
    mutation: &mut Mutation,
    connection: &Connection,
    group: &Group,
    user_id: u64,
) -> Result<bool, IdentityError> {
    let on = mutation.connection();
    let key = ScimKey::Id(user_id);
    let of = ScimType::User;
    if store::scim::find_resource(on, connection.id, of, key)
        .await?
        .is_none()
    {
        return Err(no_member(user_id));
    }
    adopt_names(mutation, user_id).await?;
    let held = store::groups::list_memberships(mutation.connection(), user_id).await?;
    let membership = scim_membership(group, connection);
    if held.iter().any(|(one, _)| *one == membership) {
        return Ok(false);
    }
    if held.len() >= MOST_OF_USER {
        let detail = format!("the user {user_id} is in {MOST_OF_USER} groups, and no more fit");
        return Err(ScimError::value(detail).into());
    }
    let (on, tailnet) = (mutation.connection(), connection.tailnet_id);
    store::groups::add_member(on, tailnet, user_id, &membership).await?;
    settle_member(
        mutation,
        connection,
        user_id,
        Some(("group.add_user", group)),
    )
    .await?;
    Ok(true)
}

async fn remove_member(
    mutation: &mut Mutation,
    connection: &Connection,
    group: &Group,
    user_id: u64,
) -> Result<bool, IdentityError> {
    let membership = scim_membership(group, connection);
    let held = store::groups::list_memberships(mutation.connection(), user_id).await?;
    if !held.iter().any(|(one, _)| *one == membership) {
        return Ok(false);
    }
    adopt_names(mutation, user_id).await?;
    store::groups::remove_member(mutation.connection(), user_id, &membership).await?;
    settle_member(
        mutation,
        connection,
        user_id,
        Some(("group.remove_user", group)),
    )
    .await?;
    Ok(true)
}

/// Writes a user whose groups have changed, with the role that they give where the connection says so.
pub(super) async fn settle_member(
    mutation: &mut Mutation,
    connection: &Connection,
    user_id: u64,
    audited: Option<(&'static str, &Group)>,
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet();
    let before = require_user(mutation.connection(), tailnet, user_id).await?;
    let mut user = before.clone();
    let has_role = set_role(mutation, connection, &mut user).await?;
    if audited.is_none() && !has_role {
        return Ok(());
    }
    write_user(mutation, &mut user).await?;
    if let Some((action, group)) = audited {
        let detail = json!({ "user": user.login_name, "connection": connection.name });
        mutation.record_audit(action, group.name.clone(), &detail);
    }
    if has_role {
        audit_change(mutation, &before, &user);
    }
    Ok(())
}

/// Gives a user the role that the connection says its groups have, and says whether it is another one. Groups by claims count as
/// those by SCIM do.
async fn set_role(
    mutation: &mut Mutation,
    connection: &Connection,
    user: &mut User,
) -> Result<bool, IdentityError> {
    if connection.role_groups.is_empty() {
        return Ok(false);
    }
    let held = store::groups::list_memberships(mutation.connection(), user.id).await?;
    let own = held
        .into_iter()
        .filter(|(one, _)| one.connection_id == connection.id);
    let names: Vec<_> = own.map(|(_, name)| name).collect();
    let Some((role, by)) = role_by_groups(connection, user, &names) else {
        return Ok(false);
    };
    user.set_role(role);
    user.role_connection_id = by;
    Ok(true)
}
