//! Users, as administrators and other services see and change them.

use bowline_db::{ChangeLog, Mutation, next_id};
use bowline_ids::TailnetId;
use bowline_proto::{
    access::{Denial, Principal, decisions},
    identity::v1::{
        AskedUser, CreateUserRequest, CreateUserResponse, DeleteUserResponse, IdentityChange,
        ResolveUserResponse, ResolveUsersResponse, Role, TransferOwnershipResponse,
        UpdateUserResponse, User, identity_change::Change,
    },
    time::to_timestamp,
};
use bowline_service_kit::Caller;
use serde_json::json;
use sqlx::AnyConnection;

use crate::{
    domain::user,
    error::IdentityError,
    memberships::{audit_change, set_names, write_user},
    sessions::end_ways_in,
    store,
    tailnets::{NO_TAILNET, require_tailnet},
};

const NO_USER: IdentityError = IdentityError::NotFound("user");
/// How many users one call finds.
const MOST_RESOLVED: usize = 100;

/// Finds, lists and changes users. Clones share it.
#[derive(Clone, Debug)]
pub struct Users {
    log: ChangeLog,
}

impl Users {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    /// Finds a user with the tailnet, and the revision at which both are so. Who was merged into another is that user.
    pub(crate) async fn resolve_user(
        &self,
        tailnet: TailnetId,
        user_id: u64,
    ) -> Result<ResolveUserResponse, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::resolve_users(reader, tailnet.get(), &[user_id]).await?;
        let mut found = found.ok_or(NO_TAILNET)?;
        Ok(ResolveUserResponse {
            user: Some(found.users.remove(&user_id).ok_or(NO_USER)?),
            tailnet: Some(found.tailnet),
            revision: found.revision,
        })
    }

    /// Finds some users with the tailnet, and the revision at which all are so.
    pub(crate) async fn resolve_users(
        &self,
        tailnet: TailnetId,
        user_ids: &[u64],
    ) -> Result<ResolveUsersResponse, IdentityError> {
        if !(1..=MOST_RESOLVED).contains(&user_ids.len()) {
            return Err(IdentityError::invalid(
                "user_ids",
                "are one at least and 100 at most",
            ));
        }
        let reader = self.log.database().reader();
        let found = store::resolve_users(reader, tailnet.get(), user_ids).await?;
        let found = found.ok_or(NO_TAILNET)?;
        let users = found.users.into_iter().map(|(asked_id, user)| AskedUser {
            asked_id,
            user: Some(user),
        });
        Ok(ResolveUsersResponse {
            tailnet: Some(found.tailnet),
            users: users.collect(),
            revision: found.revision,
        })
    }

    /// Returns the users of a tailnet by login name: all, or those who wait for approval.
    pub(crate) async fn list_users(
        &self,
        tailnet: TailnetId,
        awaits_approval: bool,
    ) -> Result<Vec<User>, IdentityError> {
        let mut read = self.log.database().begin_read().await?;
        Ok(match awaits_approval {
            true => store::list_users_awaiting_approval(&mut *read, tailnet.get()).await?,
            false => store::list_complete_users(&mut read, tailnet.get()).await?,
        })
    }

    /// Returns the user who has a login name, in whatever case it is written.
    pub(crate) async fn find_user_named(
        &self,
        tailnet: TailnetId,
        login_name: &str,
    ) -> Result<Option<User>, IdentityError> {
        let mut read = self.log.database().begin_read().await?;
        Ok(store::find_user_named_alike(&mut read, tailnet.get(), login_name).await?)
    }

    /// Makes a user: a member, unless the request names another role.
    pub(crate) async fn create_user(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        wanted: CreateUserRequest,
    ) -> Result<CreateUserResponse, IdentityError> {
        let role = match wanted.role() {
            Role::Unspecified => Role::Member,
            chosen => chosen,
        };
        caller.check(|by| decisions::may_set_role(by, 0, Role::Unspecified, role))?;
        let (answer, _) = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    require_tailnet(mutation.connection(), tailnet).await?;
                    let mut made = User {
                        tailnet_id: tailnet.get(),
                        login_name: wanted.login_name,
                        display_name: wanted.display_name,
                        role: role.into(),
                        created_at: Some(to_timestamp(mutation.now())),
                        ..User::default()
                    };
                    let on = mutation.connection();
                    let alike = store::find_user_named_alike(on, tailnet.get(), &made.login_name);
                    if let Some(other) = alike.await? {
                        return Err(IdentityError::NamedAlike(other.login_name));
                    }
                    check_ownership(mutation, &User::default(), Some(&made)).await?;
                    insert_user(mutation, &mut made).await?;
                    Ok::<_, IdentityError>(CreateUserResponse { user: Some(made) })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Changes the fields of a user that a mask names, and returns the user with the revision of the change.
    pub(crate) async fn update_user(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        wanted: User,
        mask: Vec<String>,
    ) -> Result<UpdateUserResponse, IdentityError> {
        let (answer, _) = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let before = require_user(mutation.connection(), tailnet, wanted.id).await?;
                    let mut changed = before.clone();
                    user::update_fields(&mut changed, &wanted, &mask)?;
                    caller.check(|by| check_change(by, &before, &changed))?;
                    check_ownership(mutation, &before, Some(&changed)).await?;
                    if mask.iter().any(|path| path == "groups") {
                        set_names(mutation, changed.id, &changed.groups).await?;
                    }
                    write_user(mutation, &mut changed).await?;
                    if changed.suspended && !before.suspended {
                        end_ways_in(mutation, changed.id).await?;
                    }
                    audit_change(mutation, &before, &changed);
                    Ok::<_, IdentityError>(UpdateUserResponse {
                        user: Some(changed),
                        revision: mutation.revision().get(),
                    })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Makes a user the owner, and whoever was one an administrator.
    pub(crate) async fn transfer_ownership(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        user_id: u64,
    ) -> Result<TransferOwnershipResponse, IdentityError> {
        let answer = |owner| TransferOwnershipResponse { user: Some(owner) };
        let transferred = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let users = store::list_users(mutation.connection(), tailnet.get()).await?;
                    let owners = users.iter().filter(|user| user.role() == Role::Owner);
                    caller.check(|by| {
                        // The role of a token may be a second old.
                        let is_one = |id| owners.clone().any(|owner| owner.id == id);
                        decisions::may_transfer_ownership(by, is_one)
                    })?;
                    let chosen = find_among(&users, user_id)?;
                    user::check_new_owner(chosen)?;
                    let others: Vec<_> = owners.filter(|user| user.id != user_id).collect();
                    if others.is_empty() && chosen.role() == Role::Owner {
                        return Ok(answer(chosen.clone()));
                    }
                    for before in &others {
                        set_role(mutation, before, Role::Admin).await?;
                    }
                    let owner = set_role(mutation, chosen, Role::Owner).await?;
                    let from: Vec<_> = others.iter().map(|user| &user.login_name).collect();
                    let detail = json!({ "from": from });
                    mutation.record_audit(
                        "user.transfer_ownership",
                        owner.login_name.clone(),
                        &detail,
                    );
                    Ok::<_, IdentityError>(answer(owner))
                })
            });
        Ok(transferred.await?.0)
    }

    /// Deletes a user, and returns the revision of the change.
    pub(crate) async fn delete_user(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        user_id: u64,
    ) -> Result<DeleteUserResponse, IdentityError> {
        let (answer, _) = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let gone = require_user(mutation.connection(), tailnet, user_id).await?;
                    caller.check(|by| decisions::may_end_user(by, user_id, gone.role()))?;
                    check_ownership(mutation, &gone, None).await?;
                    remove_user(mutation, &gone).await?;
                    Ok::<_, IdentityError>(DeleteUserResponse {
                        revision: mutation.revision().get(),
                    })
                })
            })
            .await?;
        Ok(answer)
    }
}

/// Refuses a change that would leave the tailnet without its owner, or with two. Where nobody concerned is one, nobody else is
/// read.
async fn check_ownership(
    mutation: &mut Mutation,
    before: &User,
    after: Option<&User>,
) -> Result<(), IdentityError> {
    let is_owner = |user: &User| user.role() == Role::Owner;
    if !is_owner(before) && !after.is_some_and(is_owner) {
        return Ok(());
    }
    let tailnet = mutation.tailnet().get();
    let users = store::list_users(mutation.connection(), tailnet).await?;
    user::check_owner(&users, before, after)
}

/// Returns a user of a tailnet who has to be there.
///
/// # Errors
///
/// When there is none, or when the database can not answer.
pub(crate) async fn require_user(
    on: &mut AnyConnection,
    tailnet: TailnetId,
    id: u64,
) -> Result<User, IdentityError> {
    let found = store::find_user(on, tailnet.get(), id).await?;
    found.ok_or(NO_USER)
}

/// Decides about the fields of a user that not everybody who keeps users may change.
fn check_change(by: &Principal, before: &User, after: &User) -> Result<(), Denial> {
    decisions::may_set_role(by, before.id, before.role(), after.role())?;
    match before.suspended == after.suspended {
        true => Ok(()),
        false => decisions::may_end_user(by, before.id, before.role()),
    }
}

async fn set_role(
    mutation: &mut Mutation,
    before: &User,
    role: Role,
) -> Result<User, IdentityError> {
    let mut changed = before.clone();
    changed.set_role(role);
    changed.role_connection_id = 0;
    write_user(mutation, &mut changed).await?;
    audit_change(mutation, before, &changed);
    Ok(changed)
}

pub(crate) fn find_among(users: &[User], id: u64) -> Result<&User, IdentityError> {
    users.iter().find(|user| user.id == id).ok_or(NO_USER)
}

/// Writes a new user, whose name nobody has, with its number.
pub(crate) async fn insert_user(
    mutation: &mut Mutation,
    made: &mut User,
) -> Result<(), IdentityError> {
    user::check_user(made)?;
    made.id = next_id(mutation.connection()).await?.cast_unsigned();
    write_user(mutation, made).await?;
    let detail = json!({ "id": made.id, "after": user::describe_user(made) });
    mutation.record_audit("user.create", made.login_name.clone(), &detail);
    Ok(())
}

/// Deletes a user with every way in, and everything that is the user's here.
pub(crate) async fn remove_user(mutation: &mut Mutation, gone: &User) -> Result<(), IdentityError> {
    let (on, tailnet) = (mutation.connection(), gone.tailnet_id);
    store::scim::delete_user(on, gone.id).await?;
    store::delete_user(on, gone.id).await?;
    store::deleted_users::note_deleted_user(on, tailnet, gone.id).await?;
    store::former_users::forget_former_ids(on, gone.id).await?;
    store::provider_refreshes::end_of_user(on, gone.id, 0).await?;
    store::connections::unlink_user(on, gone.id).await?;
    store::credentials::delete_of_user(on, gone.id).await?;
    store::passkeys::delete_ways_in(on, tailnet, gone.id).await?;
    mutation.record_entry(&IdentityChange::from(Change::UserDeleted(gone.id)));
    let detail = json!({ "id": gone.id, "before": user::describe_user(gone) });
    mutation.record_audit("user.delete", gone.login_name.clone(), &detail);
    Ok(())
}
