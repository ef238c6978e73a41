//! Links that let one person in, once: somebody new, or a user who has no other way in.

use bowline_clock::random_bytes;
use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use bowline_proto::{
    access::decisions,
    addresses::invitation_path,
    identity::v1::{
        AcceptInvitationRequest, CreateInvitationResponse, GetInvitationResponse, Invitation, Role,
        SessionOrigin, User,
    },
    time::to_timestamp,
};
use bowline_service_kit::Caller;
use bowline_tokens::{PresentedToken, TokenKind};
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    conditions::is_link_too_little,
    domain::{session, user::role_name},
    error::IdentityError,
    fields::read_tailnet_id,
    sessions::{NewSession, OpenedSession, insert_session},
    store::{self, invitations::InvitationRow},
    tailnets::{require_tailnet, tailnet_title},
    users::insert_user,
};

/// What is said of a link that is not there, was used or has ended: which of them is nobody's business.
const NO_INVITATION: IdentityError = IdentityError::NotFound("invitation");

/// What is said where the user is not what the link was made for.
const OTHERWISE: IdentityError = IdentityError::Refused(
    "the user has changed since this link was made: ask an administrator for another one",
);

/// Serves invitations. Clones share it.
#[derive(Clone, Debug)]
pub struct Invitations {
    log: ChangeLog,
}

impl Invitations {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Makes a link, and returns it with its secret. `public_url` is where browsers reach the gateway; empty where that is not
    /// known.
    pub(crate) async fn create_invitation(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        wanted: Invitation,
        lifetime: Option<TimeDelta>,
        public_url: String,
    ) -> Result<CreateInvitationResponse, IdentityError> {
        let mut made = Invitation {
            tailnet_id: tailnet.get(),
            ..wanted
        };
        if made.role() == Role::Unspecified {
            made.set_role(Role::Member);
        }
        let lifetime = session::check_invitation(&made, lifetime)?;
        let token = TokenKind::Invitation.make_token(random_bytes(), random_bytes());
        made.id.clone_from(&token.id);
        let hash = token.hash;
        let actor = caller.to_string();
        let created = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let now = mutation.now();
                require_tailnet(mutation.connection(), tailnet).await?;
                let on = mutation.connection();
                let waiting = store::invitations::count_invitations(on, tailnet.get(), now);
                if waiting.await? >= session::MOST_INVITATIONS {
                    return Err(IdentityError::Refused(
                        "1,000 invitations wait to be used: revoke some first",
                    ));
                }
                let known = store::find_user_named_alike(&mut *on, tailnet.get(), &made.login_name);
                if let Some(user) = known.await? {
                    made.user_id = user.id;
                    made.role = user.role;
                }
                // Whoever uses the link has this role.
                caller.check(|by| decisions::may_link_user(by, made.role()))?;
                made.created_at = Some(to_timestamp(now));
                made.expires_at = Some(to_timestamp(now + lifetime));
                let row = InvitationRow {
                    invitation: made.clone(),
                    secret_hash: hash,
                    created_at: now,
                    expires_at: now + lifetime,
                };
                store::invitations::insert_invitation(on, &row).await?;
                let detail = json!({ "user": made.login_name, "role": role_name(made.role()) });
                mutation.record_audit("invitation.create", made.id.clone(), &detail);
                Ok(CreateInvitationResponse {
                    invitation: Some(made),
                    url: match public_url.as_str() {
                        "" => String::new(),
                        origin => format!("{origin}{}", invitation_path(&token.text)),
                    },
                    secret: token.text.to_string(),
                })
            })
        });
        Ok(created.await?.0)
    }

    /// Returns the links of a tailnet that can still be used.
    pub(crate) async fn list_invitations(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<Invitation>, IdentityError> {
        let now = self.log.database().now().await?;
        let reader = self.log.database().reader();
        Ok(store::invitations::list_invitations(reader, tailnet.get(), now).await?)
    }

    /// Ends a link.
    pub(crate) async fn revoke_invitation(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: String,
    ) -> Result<(), IdentityError> {
        let revoked = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                if !store::invitations::delete_invitation(on, tailnet.get(), &id).await? {
                    return Err(NO_INVITATION);
                }
                mutation.record_audit("invitation.revoke", id, &json!({}));
                Ok(())
            })
        });
        revoked.await?;
        Ok(())
    }

    /// Says whom a link is for.
    pub(crate) async fn find_invitation(
        &self,
        secret: &str,
    ) -> Result<GetInvitationResponse, IdentityError> {
        let invitation = self.require_invitation(secret).await?;
        let reader = self.log.database().reader();
        let tailnet = store::find_tailnet(reader, invitation.tailnet_id).await?;
        Ok(GetInvitationResponse {
            invitation: Some(invitation),
            tailnet_name: tailnet.as_ref().map_or_else(String::new, tailnet_title),
        })
    }

    async fn require_invitation(&self, secret: &str) -> Result<Invitation, IdentityError> {
        let token = PresentedToken::parse_as(TokenKind::Invitation, secret).ok_or(NO_INVITATION)?;
        let reader = self.log.database().reader();
        let row = store::invitations::find_invitation(reader, token.id()).await?;
        let row = row.ok_or(NO_INVITATION)?;
        let now = self.log.database().now().await?;
        match token.matches(&row.secret_hash) && now < row.expires_at {
            true => Ok(row.invitation),
            false => Err(NO_INVITATION),
        }
    }

    /// Uses a link up: makes the user where there is none, and opens a session. Once only.
    pub(crate) async fn accept_invitation(
        &self,
        request: AcceptInvitationRequest,
    ) -> Result<OpenedSession, IdentityError> {
        let invitation = self.require_invitation(&request.secret).await?;
        let tailnet = read_tailnet_id(invitation.tailnet_id)?;
        let browser = request.description.unwrap_or_default();
        let actor = format!("invitation:{}", invitation.id);
        let opened = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                let is_mine =
                    store::invitations::delete_invitation(on, tailnet.get(), &invitation.id);
                if !is_mine.await? {
                    return Err(NO_INVITATION);
                }
                let known =
                    store::find_user_named_alike(on, tailnet.get(), &invitation.login_name).await?;
                let user = match known {
                    Some(user) if (user.id, user.role) == (invitation.user_id, invitation.role) => {
                        user
                    }
                    // The link was made by somebody who might not have let this user in.
                    Some(_) => return Err(OTHERWISE),
                    None if invitation.user_id != 0 => return Err(OTHERWISE),
                    None => {
                        let mut made = User {
                            tailnet_id: tailnet.get(),
                            login_name: invitation.login_name.clone(),
                            display_name: invitation.display_name.clone(),
                            role: invitation.role,
                            created_at: Some(to_timestamp(mutation.now())),
                            ..User::default()
                        };
                        insert_user(mutation, &mut made).await?;
                        made
                    }
                };
                let detail = json!({ "user": user.login_name });
                mutation.record_audit("invitation.accept", invitation.id, &detail);
                let now = mutation.now();
                let source = &browser.source_address;
                let limited = is_link_too_little(mutation.connection(), &user, source, now).await?;
                let begun = NewSession {
                    user_id: user.id,
                    origin: SessionOrigin::Invitation,
                    connection_id: 0,
                    browser,
                    limited,
                    program: false,
                };
                insert_session(mutation, begun).await
            })
        });
        Ok(opened.await?.0)
    }
}
