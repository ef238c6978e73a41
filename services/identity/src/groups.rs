//! Groups, as administrators see and change them.

use bowline_db::{ChangeLog, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::{
    AddGroupMemberResponse, CreateGroupResponse, Group, GroupSource, IdentityChange, ListedGroup,
    Membership, RemoveGroupMemberResponse, UpdateGroupResponse, identity_change::Change,
};
use serde_json::json;

use crate::{
    domain::{
        describe_change,
        group::{
            self, MOST_OF_TAILNET, MOST_OF_USER, check_group_name, manual_membership, refuse_owned,
        },
    },
    error::IdentityError,
    memberships::{
        adopt_names, adopt_names_of, make_group, rewrite_names, write_group, write_user,
        write_users,
    },
    store,
    tailnets::require_tailnet,
    users::require_user,
};

/// Lists and changes groups. Clones share it.
#[derive(Clone, Debug)]
pub struct Groups {
    log: ChangeLog,
}

impl Groups {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Makes a group without members.
    pub(crate) async fn create_group(
        &self,
        tailnet: TailnetId,
        actor: String,
        name: String,
    ) -> Result<CreateGroupResponse, IdentityError> {
        check_group_name(&name)?;
        let made = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                require_tailnet(mutation.connection(), tailnet).await?;
                let source = (GroupSource::Manual, 0);
                let made = make_group(mutation, &name, source, MOST_OF_TAILNET).await?;
                Ok::<_, IdentityError>(CreateGroupResponse { group: Some(made) })
            })
        });
        Ok(made.await?.0)
    }

    /// Returns the groups of a tailnet by name, with how many are in each.
    pub(crate) async fn list_all(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<ListedGroup>, IdentityError> {
        let mut read = self.log.database().begin_read().await?;
        let groups = store::groups::list_groups(&mut read, tailnet.get()).await?;
        let members = store::groups::count_members(&mut read, tailnet.get()).await?;
        let list = |group: Group| ListedGroup {
            members: members.get(&group.id).copied().unwrap_or(0),
            group: Some(group),
        };
        Ok(groups.into_iter().map(list).collect())
    }

    /// Changes the fields of a group that a mask names. The log has one entry, however many are in it.
    pub(crate) async fn update_group(
        &self,
        tailnet: TailnetId,
        actor: String,
        wanted: Group,
        mask: Vec<String>,
    ) -> Result<UpdateGroupResponse, IdentityError> {
        if let Some(other) = mask.iter().find(|path| *path != "name") {
            let problem = format!("\"{other}\" is no field that can be changed");
            return Err(IdentityError::invalid("update_mask", problem));
        }
        if !mask.is_empty() {
            check_group_name(&wanted.name)?;
        }
        let answer = |group| UpdateGroupResponse { group: Some(group) };
        let changed = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let before = require_group(mutation, wanted.id).await?;
                let mut changed = before.clone();
                if !mask.is_empty() {
                    changed.name = wanted.name;
                }
                if changed == before {
                    return Ok(answer(before));
                }
                if before.source() != GroupSource::Manual {
                    return Err(refuse_owned(&before.name, before.source()));
                }
                rename_group(mutation, &before, &changed).await?;
                Ok::<_, IdentityError>(answer(changed))
            })
        });
        Ok(changed.await?.0)
    }

    /// Deletes a group that nobody is in by a provider.
    pub(crate) async fn delete_group(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
    ) -> Result<(), IdentityError> {
        let deleted = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let gone = require_group(mutation, id).await?;
                if gone.source() == GroupSource::Scim {
                    return Err(refuse_owned(&gone.name, gone.source()));
                }
                let members = store::groups::list_members(mutation.connection(), id).await?;
                let all = members.values().flatten();
                let mut sources = all.map(|membership| membership.source());
                if let Some(source) = sources.find(|source| *source != GroupSource::Manual) {
                    return Err(refuse_owned(&format!("who is in {}", gone.name), source));
                }
                let ids: Vec<_> = members.keys().copied().collect();
                adopt_names_of(mutation, &ids).await?;
                store::groups::delete_group(mutation.connection(), id).await?;
                for ids in ids.chunks(store::MOST_IDS) {
                    let on = mutation.connection();
                    let mut left = store::find_users(on, tailnet.get(), ids).await?;
                    write_users(mutation, &mut left).await?;
                }
                mutation.record_entry(&IdentityChange::from(Change::GroupDeleted(id)));
                let before = group::describe_group(&gone);
                let detail = json!({ "id": id, "before": before, "members": members.len() });
                mutation.record_audit("group.delete", gone.name, &detail);
                Ok::<_, IdentityError>(())
            })
        });
        deleted.await?;
        Ok(())
    }

    /// Puts a user into a group.
    pub(crate) async fn add_member(
        &self,
        tailnet: TailnetId,
        actor: String,
        group_id: u64,
        user_id: u64,
    ) -> Result<AddGroupMemberResponse, IdentityError> {
        let answer = |user| AddGroupMemberResponse { user: Some(user) };
        let added = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let group = require_group(mutation, group_id).await?;
                let mut user = require_user(mutation.connection(), tailnet, user_id).await?;
                adopt_names(mutation, user_id).await?;
                let held = store::groups::list_memberships(mutation.connection(), user_id).await?;
                let membership = manual_membership(group_id);
                if held.iter().any(|(one, _)| *one == membership) {
                    return Ok(answer(user));
                }
                if held.len() >= MOST_OF_USER {
                    return Err(IdentityError::Refused(
                        "the user is in 1,000 groups: take the user out of one first",
                    ));
                }
                let on = mutation.connection();
                store::groups::add_member(on, tailnet.get(), user_id, &membership).await?;
                write_user(mutation, &mut user).await?;
                let detail = json!({ "user": user.login_name });
                mutation.record_audit("group.add_user", group.name, &detail);
                Ok::<_, IdentityError>(answer(user))
            })
        });
        Ok(added.await?.0)
    }

    /// Takes a user out of a group whom an administrator has put there.
    pub(crate) async fn remove_member(
        &self,
        tailnet: TailnetId,
        actor: String,
        group_id: u64,
        user_id: u64,
    ) -> Result<RemoveGroupMemberResponse, IdentityError> {
        let answer = |user| RemoveGroupMemberResponse { user: Some(user) };
        let removed = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let group = require_group(mutation, group_id).await?;
                let mut user = require_user(mutation.connection(), tailnet, user_id).await?;
                adopt_names(mutation, user_id).await?;
                let held = store::groups::list_memberships(mutation.connection(), user_id).await?;
                let held = held.iter().map(|(one, _)| one);
                let of_group: Vec<_> = held.filter(|one| one.group_id == group_id).collect();
                let is_manual = |one: &&&Membership| one.source() == GroupSource::Manual;
                if let Some(by_other) = of_group.iter().find(|one| !is_manual(one)) {
                    let what = format!("that {} is in {}", user.login_name, group.name);
                    return Err(refuse_owned(&what, by_other.source()));
                }
                if of_group.is_empty() {
                    return Ok(answer(user));
                }
                let membership = manual_membership(group_id);
                store::groups::remove_member(mutation.connection(), user_id, &membership).await?;
                write_user(mutation, &mut user).await?;
                let detail = json!({ "user": user.login_name });
                mutation.record_audit("group.remove_user", group.name, &detail);
                Ok::<_, IdentityError>(answer(user))
            })
        });
        Ok(removed.await?.0)
    }
}

/// Returns a group that has to be there.
pub(crate) async fn require_group(
    mutation: &mut Mutation,
    id: u64,
) -> Result<Group, IdentityError> {
    let tailnet = mutation.tailnet().get();
    let found = store::groups::find_group(mutation.connection(), tailnet, id).await?;
    found.ok_or(IdentityError::NotFound("group"))
}

/// Writes a group that has another name, with the rows of who is in it. The log has one entry.
pub(crate) async fn rename_group(
    mutation: &mut Mutation,
    before: &Group,
    renamed: &Group,
) -> Result<(), IdentityError> {
    let members = store::groups::list_members(mutation.connection(), renamed.id).await?;
    let members: Vec<_> = members.into_keys().collect();
    adopt_names_of(mutation, &members).await?;
    write_group(mutation, renamed).await?;
    rewrite_names(mutation, &members).await?;
    let detail = describe_change(
        &group::describe_group(before),
        &group::describe_group(renamed),
    );
    mutation.record_audit("group.update", renamed.name.clone(), &detail);
    Ok(())
}
