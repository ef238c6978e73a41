//! Two accounts of one person become one.

use bowline_ids::TailnetId;
use bowline_proto::{
    access::{Denial, Principal, decisions},
    identity::v1::{MergeUsersRequest, MergeUsersResponse, Role, User, UserBelongings},
};
use bowline_service_kit::Caller;
use bowline_tokens::TokenKind;
use serde_json::json;
use sqlx::AnyConnection;

use crate::{
    domain::{session, user},
    error::IdentityError,
    memberships::{adopt_names, write_user},
    store::{self, former_users::MergedPair},
    users::{Users, find_among},
};

impl Users {
    /// Makes one user of two, or says what would move.
    pub(crate) async fn merge_users(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        request: MergeUsersRequest,
    ) -> Result<MergeUsersResponse, IdentityError> {
        let pair = MergedPair {
            tailnet_id: tailnet.get(),
            from: request.from_user_id,
            into: request.into_user_id,
        };
        if request.dry_run {
            let mut read = self.log().database().begin_read().await?;
            let users = store::list_users(&mut *read, pair.tailnet_id).await?;
            let (_, into) = check_pair(&users, pair, &caller)?;
            refuse_kept(&mut read, pair.from).await?;
            return Ok(MergeUsersResponse {
                user: Some(into.clone()),
                moved: Some(list_belongings(&mut read, pair.tailnet_id, pair.from).await?),
                revision: 0,
            });
        }
        let merged = self
            .log()
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let users = store::list_users(mutation.connection(), pair.tailnet_id).await?;
                    let (from, into) = check_pair(&users, pair, &caller)?;
                    refuse_kept(mutation.connection(), pair.from).await?;
                    for user in [pair.from, pair.into] {
                        adopt_names(mutation, user).await?;
                    }
                    let on = mutation.connection();
                    let moved = list_belongings(on, pair.tailnet_id, pair.from).await?;
                    store::former_users::move_belongings(on, pair).await?;
                    store::delete_user(on, pair.from).await?;
                    let kept = session::MOST_OF_USER;
                    store::sessions::keep_newest_sessions(on, pair.tailnet_id, pair.into, kept)
                        .await?;
                    let mut user = into.clone();
                    // Its entry in the log says that the other is gone.
                    write_user(mutation, &mut user).await?;
                    let detail = json!({
                        "from": { "id": from.id, "before": user::describe_user(from) },
                        "groups": moved.groups,
                        "links": moved.links.iter().map(|link| json!({
                            "connection": link.connection_name,
                            "issuer": link.issuer,
                            "subject": link.subject,
                        })).collect::<Vec<_>>(),
                        "api_keys": moved.api_keys,
                        "passkeys": moved.passkeys,
                        "sessions": moved.sessions,
                    });
                    mutation.record_audit("user.merge", user.login_name.clone(), &detail);
                    Ok::<_, IdentityError>(MergeUsersResponse {
                        user: Some(user),
                        moved: Some(moved),
                        revision: mutation.revision().get(),
                    })
                })
            });
        Ok(merged.await?.0)
    }
}

/// Returns the two users of a merge that may be done.
fn check_pair<'a>(
    users: &'a [User],
    pair: MergedPair,
    caller: &Caller,
) -> Result<(&'a User, &'a User), IdentityError> {
    let (from, into) = (find_among(users, pair.from)?, find_among(users, pair.into)?);
    if from.id == into.id {
        return Err(IdentityError::invalid(
            "into_user_id",
            "is the same user: name two",
        ));
    }
    caller.check(|by| may_merge(by, from, into))?;
    let refused = match () {
        () if from.role() == Role::Owner => {
            "the owner is merged into nobody: merge the other user into the owner, or transfer the ownership first (bowline users transfer-ownership)"
        }
        () if into.suspended => {
            "the user who stays is suspended, or waits for approval: restore or approve the user first"
        }
        // Who waits is let in by this.
        () if from.suspended && !from.only_awaits_approval() => {
            "a suspended user is merged into nobody, since that would restore its devices: restore the user first"
        }
        () => return Ok((from, into)),
    };
    Err(IdentityError::Refused(refused))
}

/// Refuses to take a user away from a provider that keeps it: it would be made again.
async fn refuse_kept(on: &mut AnyConnection, user_id: u64) -> Result<(), IdentityError> {
    match store::scim::find_keeper(on, user_id).await? {
        None => Ok(()),
        Some(_) => Err(IdentityError::Refused(
            "an identity provider keeps this user by SCIM: merge the other user into it, or let the provider delete it first",
        )),
    }
}

fn may_merge(by: &Principal, from: &User, into: &User) -> Result<(), Denial> {
    decisions::may_end_user(by, from.id, from.role())?;
    // Whoever logs in as the one is the other from then on.
    decisions::may_link_user(by, into.role())
}

async fn list_belongings(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
) -> Result<UserBelongings, IdentityError> {
    let mut groups: Vec<_> = store::groups::list_memberships(on, user_id)
        .await?
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    groups.sort();
    groups.dedup();
    let links = store::connections::list_links(&mut *on, tailnet_id, user_id).await?;
    let keys = store::credentials::list_credentials(&mut *on, tailnet_id, TokenKind::ApiKey);
    let keys = keys.await?.into_iter().filter(|key| key.user_id == user_id);
    let passkeys = store::passkeys::list_passkeys(&mut *on, tailnet_id, user_id).await?;
    let sessions = store::sessions::list_sessions(&mut *on, tailnet_id, user_id).await?;
    Ok(UserBelongings {
        groups,
        links,
        api_keys: keys.map(|key| key.id).collect(),
        passkeys: passkeys.into_iter().map(|row| row.passkey.name).collect(),
        sessions: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
    })
}
