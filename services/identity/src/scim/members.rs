//! Who is in a provider's group. Each member that comes or goes is one change of a user, and many cost few queries; the others are
//! not read.

use std::collections::{BTreeMap, BTreeSet};

use bowline_db::Mutation;
use bowline_proto::identity::v1::{Connection, Group, GroupSource, Membership, User};
use bowline_scim::{ScimError, member::MemberChange};
use serde_json::json;

use crate::{
    domain::group::{MOST_OF_USER, role_by_groups},
    error::IdentityError,
    memberships::{adopt_names_of, audit_change, write_users},
    store::{self, groups::NamedMemberships},
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
    let (come, go) = (Vec::from_iter(come), Vec::from_iter(go));
    let mut has_changed = false;
    for ids in come.chunks(store::MOST_IDS) {
        has_changed |= add_members(mutation, connection, group, ids).await?;
    }
    for ids in go.chunks(store::MOST_IDS) {
        has_changed |= remove_members(mutation, connection, group, ids).await?;
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

async fn add_members(
    mutation: &mut Mutation,
    connection: &Connection,
    group: &Group,
    user_ids: &[u64],
) -> Result<bool, IdentityError> {
    let on = mutation.connection();
    let known = store::scim::list_kept_users(on, connection.id, user_ids).await?;
    if let Some(nobody) = user_ids.iter().find(|id| !known.contains(id)) {
        return Err(no_member(nobody));
    }
    adopt_names_of(mutation, user_ids).await?;
    let membership = scim_membership(group, connection);
    let on = mutation.connection();
    let held = store::groups::list_memberships_of(on, user_ids).await?;
    let mut new = Vec::new();
    for id in user_ids {
        let held = held.get(id).map_or(&[][..], Vec::as_slice);
        if held.iter().any(|(one, _)| *one == membership) {
            continue;
        }
        if held.len() >= MOST_OF_USER {
            let detail = format!("the user {id} is in {MOST_OF_USER} groups, and no more fit");
            return Err(ScimError::value(detail).into());
        }
        new.push(*id);
    }
    if new.is_empty() {
        return Ok(false);
    }
    store::groups::add_members(on, connection.tailnet_id, &new, &membership).await?;
    let audited = Some(("group.add_user", group));
    settle_members(mutation, connection, &new, audited).await?;
    Ok(true)
}

async fn remove_members(
    mutation: &mut Mutation,
    connection: &Connection,
    group: &Group,
    user_ids: &[u64],
) -> Result<bool, IdentityError> {
    let membership = scim_membership(group, connection);
    let on = mutation.connection();
    let held = store::groups::list_memberships_of(on, user_ids).await?;
    let is_member = |held: &NamedMemberships| held.iter().any(|(one, _)| *one == membership);
    let members = held.iter().filter(|(_, held)| is_member(held));
    let gone: Vec<_> = members.map(|(id, _)| *id).collect();
    if gone.is_empty() {
        return Ok(false);
    }
    adopt_names_of(mutation, &gone).await?;
    store::groups::remove_members(mutation.connection(), &gone, &membership).await?;
    let audited = Some(("group.remove_user", group));
    settle_members(mutation, connection, &gone, audited).await?;
    Ok(true)
}

/// Writes users whose groups have changed, with the role that they give where the connection says so; [`store::MOST_IDS`] at
/// most.
pub(super) async fn settle_members(
    mutation: &mut Mutation,
    connection: &Connection,
    user_ids: &[u64],
    audited: Option<(&'static str, &Group)>,
) -> Result<(), IdentityError> {
    let (tailnet, on) = (mutation.tailnet().get(), mutation.connection());
    let mut before = store::find_users(&mut *on, tailnet, user_ids).await?;
    let held = match connection.role_groups.is_empty() {
        true => BTreeMap::new(),
        false => store::groups::list_memberships_of(on, user_ids).await?,
    };
    let mut changed = before.clone();
    let mut new_roles = BTreeSet::new();
    for user in &mut changed {
        let held = held.get(&user.id).map_or(&[][..], Vec::as_slice);
        if set_role(connection, user, held) {
            new_roles.insert(user.id);
        }
    }
    if audited.is_none() {
        before.retain(|user| new_roles.contains(&user.id));
        changed.retain(|user| new_roles.contains(&user.id));
    }
    write_users(mutation, &mut changed).await?;
    for (before, after) in before.iter().zip(&changed) {
        if let Some((action, group)) = audited {
            let detail = json!({ "user": after.login_name, "connection": connection.name });
            mutation.record_audit(action, group.name.clone(), &detail);
        }
        if new_roles.contains(&after.id) {
            audit_change(mutation, before, after);
        }
    }
    Ok(())
}

/// Gives a user the role that the connection says its groups have, and says whether it is another one. Groups by claims count as
/// those by SCIM do.
fn set_role(connection: &Connection, user: &mut User, held: &[(Membership, String)]) -> bool {
    let own = held
        .iter()
        .filter(|(one, _)| one.connection_id == connection.id);
    let names: Vec<_> = own.map(|(_, name)| name.clone()).collect();
    let Some((role, by)) = role_by_groups(connection, user, &names) else {
        return false;
    };
    user.set_role(role);
    user.role_connection_id = by;
    true
}
