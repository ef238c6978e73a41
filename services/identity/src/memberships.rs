//! Which groups a user is in.
//!
//! The table of memberships is what counts. A user's row keeps the names beside it, for a release that knows only those.
//! Such a release writes rows without `has_memberships`; their names are taken over, as an administrator's, before
//! anything else is done to the user's groups.

use std::collections::BTreeSet;

use bowline_db::{Mutation, next_id};
use bowline_proto::{
    identity::v1::{
        Connection, Group, GroupSource, IdentityChange, Role, User, identity_change::Change,
    },
    time::to_timestamp,
};
use serde_json::json;

use crate::{
    domain::{
        describe_change,
        group::{
            self, MOST_OF_TAILNET, MOST_OF_USER, claimed_membership, clean_names,
            manual_membership, refuse_owned,
        },
        user,
    },
    error::IdentityError,
    store,
    users::require_user,
};

/// What may be done about names that a provider gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProviderNames {
    /// They stay, whatever the names are.
    Stay,
    /// They are to be among the names.
    MustBeNamed,
}

/// Writes a user as it is now, to the rows and to the log; with the groups as the table has them.
pub(crate) async fn write_user(
    mutation: &mut Mutation,
    user: &mut User,
) -> Result<(), IdentityError> {
    write_users(mutation, std::slice::from_mut(user)).await
}

/// Writes users, as [`write_user`] does. Many at once cost few queries.
pub(crate) async fn write_users(
    mutation: &mut Mutation,
    users: &mut [User],
) -> Result<(), IdentityError> {
    for users in users.chunks_mut(store::MOST_IDS) {
        let ids: Vec<_> = users.iter().map(|user| user.id).collect();
        adopt_names_of(mutation, &ids).await?;
        put_with_groups(mutation, users).await?;
    }
    Ok(())
}

async fn put_with_groups(mutation: &mut Mutation, users: &mut [User]) -> Result<(), IdentityError> {
    fill_in_groups(mutation, users).await?;
    // A release that does not know of merges leaves them out of the row.
    let only = match users {
        [user] => Some(user.id),
        _ => None,
    };
    let (tailnet, on) = (mutation.tailnet().get(), mutation.connection());
    let mut former = store::former_users::list_former_ids(on, tailnet, only).await?;
    for user in users.iter_mut() {
        user.former_ids = former.remove(&user.id).unwrap_or_default();
    }
    store::put_users(on, users).await?;
    for user in users {
        mutation.record_entry(&IdentityChange::from(Change::User(user.clone())));
    }
    Ok(())
}

async fn fill_in_groups(mutation: &mut Mutation, users: &mut [User]) -> Result<(), IdentityError> {
    let ids: Vec<_> = users.iter().map(|user| user.id).collect();
    let mut held = store::groups::list_memberships_of(mutation.connection(), &ids).await?;
    for user in users {
        let memberships = held.remove(&user.id).unwrap_or_default();
        let (memberships, mut names): (Vec<_>, Vec<_>) = memberships.into_iter().unzip();
        names.sort();
        names.dedup();
        user.groups = names;
        user.memberships = memberships;
        user.has_memberships = true;
    }
    Ok(())
}

/// Writes the names of users' groups to their rows alone: one of them has another name.
pub(crate) async fn rewrite_names(
    mutation: &mut Mutation,
    user_ids: &[u64],
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet().get();
    for ids in user_ids.chunks(store::MOST_IDS) {
        let mut users = store::find_users(mutation.connection(), tailnet, ids).await?;
        fill_in_groups(mutation, &mut users).await?;
        store::put_users(mutation.connection(), &users).await?;
    }
    Ok(())
}

/// Takes over the group names of a user whose row a release without groups as objects has written. From then on the row, and
/// who follows the log, have them as memberships.
pub(crate) async fn adopt_names(
    mutation: &mut Mutation,
    user_id: u64,
) -> Result<(), IdentityError> {
    adopt_names_of(mutation, &[user_id]).await
}

/// Takes over the group names of users, as [`adopt_names`] does. A new user has no row yet.
pub(crate) async fn adopt_names_of(
    mutation: &mut Mutation,
    user_ids: &[u64],
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet().get();
    for ids in user_ids.chunks(store::MOST_IDS) {
        let rows = store::find_user_rows(mutation.connection(), tailnet, ids).await?;
        for mut row in rows.into_iter().filter(|row| !row.has_memberships) {
            let wanted = std::mem::take(&mut row.groups).into_iter().collect();
            set_manual(mutation, row.id, &wanted, ProviderNames::Stay).await?;
            put_with_groups(mutation, std::slice::from_mut(&mut row)).await?;
        }
    }
    Ok(())
}

/// Lets a user be in the groups of these names, by an administrator: made where there are none.
pub(crate) async fn set_names(
    mutation: &mut Mutation,
    user_id: u64,
    wanted: &[String],
) -> Result<(), IdentityError> {
    adopt_names(mutation, user_id).await?;
    let wanted = wanted.iter().cloned().collect();
    set_manual(mutation, user_id, &wanted, ProviderNames::MustBeNamed).await
}

async fn set_manual(
    mutation: &mut Mutation,
    user_id: u64,
    wanted: &BTreeSet<String>,
    of_providers: ProviderNames,
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet().get();
    let held = store::groups::list_memberships(mutation.connection(), user_id).await?;
    for (membership, name) in &held {
        if wanted.contains(name) {
            continue;
        }
        match membership.source() {
            GroupSource::Manual => {
                store::groups::remove_member(mutation.connection(), user_id, membership).await?;
            }
            source if of_providers == ProviderNames::MustBeNamed => {
                return Err(refuse_owned(&format!("that the user is in {name}"), source));
            }
            _ => {}
        }
    }
    let known: BTreeSet<_> = held.iter().map(|(_, name)| name).collect();
    for name in wanted.iter().filter(|name| !known.contains(name)) {
        // What is in the rows already fits, however many groups that makes.
        let most = match of_providers {
            ProviderNames::Stay => usize::MAX,
            ProviderNames::MustBeNamed => MOST_OF_TAILNET,
        };
        let found = find_or_make(mutation, name, (GroupSource::Manual, 0), most).await?;
        let membership = manual_membership(found.id);
        let on = mutation.connection();
        store::groups::add_member(on, tailnet, user_id, &membership).await?;
    }
    Ok(())
}

/// Lets a user be in exactly the groups that a connection's provider claims, as far as this connection has a say, and have
/// the role that they give. Returns the user as it is now.
pub(crate) async fn apply_claim(
    mutation: &mut Mutation,
    connection: &Connection,
    user_id: u64,
    claimed: &[String],
) -> Result<User, IdentityError> {
    let tailnet = mutation.tailnet();
    adopt_names(mutation, user_id).await?;
    let before = require_user(mutation.connection(), tailnet, user_id).await?;
    let held = store::groups::list_memberships(mutation.connection(), user_id).await?;
    let (own, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|(membership, _)| {
        membership.source() == GroupSource::Connection && membership.connection_id == connection.id
    });
    let room = MOST_OF_USER.saturating_sub(others.len());
    let mut wanted = clean_names(claimed);
    if wanted.len() > room {
        tracing::warn!(
            user = before.login_name,
            "a provider names more groups of a person than fit: some are left out"
        );
        wanted = wanted.into_iter().take(room).collect();
    }
    let mut has_changed = false;
    for (membership, _) in own.iter().filter(|(_, name)| !wanted.contains(name)) {
        has_changed = true;
        store::groups::remove_member(mutation.connection(), user_id, membership).await?;
    }
    let known: BTreeSet<_> = own.iter().map(|(_, name)| name).collect();
    for name in wanted.iter().filter(|name| !known.contains(name)) {
        let by = (GroupSource::Connection, connection.id);
        let found = find_or_make(mutation, name, by, MOST_OF_TAILNET).await;
        let found = match found {
            Ok(found) => found,
            Err(IdentityError::Refused(reason)) => {
                tracing::warn!(reason, group = name, "a group of a provider is left out");
                continue;
            }
            Err(error) => return Err(error),
        };
        has_changed = true;
        let membership = claimed_membership(found.id, connection.id);
        let on = mutation.connection();
        store::groups::add_member(on, tailnet.get(), user_id, &membership).await?;
    }
    let mut changed = before.clone();
    // What the same provider says by SCIM counts as well.
    let by_scim = others
        .iter()
        .filter(|(one, _)| one.connection_id == connection.id);
    let named: Vec<_> = claimed
        .iter()
        .cloned()
        .chain(by_scim.map(|(_, name)| name.clone()))
        .collect();
    if let Some((role, by)) = group::role_by_groups(connection, &before, &named) {
        has_changed = true;
        changed.set_role(role);
        changed.role_connection_id = by;
    }
    if !has_changed {
        return Ok(before);
    }
    write_user(mutation, &mut changed).await?;
    audit_change(mutation, &before, &changed);
    Ok(changed)
}

/// Ends what a connection's claims said of groups and roles: the connection is gone. Returns whose groups or role it was.
pub(crate) async fn end_claims(
    mutation: &mut Mutation,
    connection_id: u64,
) -> Result<Vec<String>, IdentityError> {
    let tailnet = mutation.tailnet();
    let on = mutation.connection();
    let members = store::groups::list_members_by_connection(on, connection_id).await?;
    adopt_names_of(mutation, &members).await?;
    let on = mutation.connection();
    let users = store::list_users(&mut *on, tailnet.get()).await?;
    store::groups::delete_members_by_connection(on, connection_id).await?;
    let mut named = Vec::new();
    for before in users {
        let has_role = before.role_connection_id == connection_id;
        if !has_role && !members.contains(&before.id) {
            continue;
        }
        let mut changed = before.clone();
        if has_role {
            changed.set_role(Role::Member);
            changed.role_connection_id = 0;
        }
        write_user(mutation, &mut changed).await?;
        audit_change(mutation, &before, &changed);
        named.push(changed.login_name);
    }
    let groups = store::groups::list_groups(mutation.connection(), tailnet.get()).await?;
    for group in groups
        .into_iter()
        .filter(|group| group.connection_id == connection_id)
    {
        // Nobody else can rename or delete it now.
        let kept = Group {
            source: GroupSource::Manual.into(),
            connection_id: 0,
            ..group
        };
        write_group(mutation, &kept).await?;
    }
    Ok(named)
}

/// Puts on record what differs between two states of a user.
pub(crate) fn audit_change(mutation: &mut Mutation, before: &User, now: &User) {
    let detail = describe_change(&user::describe_user(before), &user::describe_user(now));
    mutation.record_audit("user.update", now.login_name.clone(), &detail);
}

/// Returns the group of a name; one that there is not yet is made.
async fn find_or_make(
    mutation: &mut Mutation,
    name: &str,
    by: (GroupSource, u64),
    most: usize,
) -> Result<Group, IdentityError> {
    let tailnet = mutation.tailnet().get();
    let on = mutation.connection();
    match store::groups::find_group_named(on, tailnet, name).await? {
        Some(found) => Ok(found),
        None => make_group(mutation, name, by, most).await,
    }
}

/// Makes a group, whose name none has. `by` is its source, and the connection that it may be; the tailnet has `most` groups
/// afterwards.
pub(crate) async fn make_group(
    mutation: &mut Mutation,
    name: &str,
    by: (GroupSource, u64),
    most: usize,
) -> Result<Group, IdentityError> {
    let (source, connection_id) = by;
    let (tailnet, now) = (mutation.tailnet().get(), mutation.now());
    let on = mutation.connection();
    let count = store::groups::count_groups(on, tailnet).await?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= most {
        return Err(IdentityError::Refused(
            "the tailnet has 10,000 groups: delete one first",
        ));
    }
    let made = Group {
        id: next_id(on).await?.cast_unsigned(),
        tailnet_id: tailnet,
        name: name.to_owned(),
        source: source.into(),
        connection_id,
        external_id: String::new(),
        created_at: Some(to_timestamp(now)),
    };
    write_group(mutation, &made).await?;
    let detail = json!({ "id": made.id, "after": group::describe_group(&made) });
    mutation.record_audit("group.create", made.name.clone(), &detail);
    Ok(made)
}

/// Writes a group as it is now, to the rows and to the log.
pub(crate) async fn write_group(
    mutation: &mut Mutation,
    group: &Group,
) -> Result<(), IdentityError> {
    store::groups::put_group(mutation.connection(), group).await?;
    mutation.record_entry(&IdentityChange::from(Change::Group(group.clone())));
    Ok(())
}
