//! Who is who at a provider, as administrators say.

use bowline_ids::TailnetId;
use bowline_proto::{
    access::decisions,
    identity::v1::{LinkUserRequest, UnlinkUserRequest, UserLink},
};
use bowline_service_kit::Caller;
use serde_json::json;

use super::{Connections, find_own, provider_issuer};
use crate::{
    error::IdentityError,
    memberships::apply_claim,
    provider_logins::{SessionEnd, end_sessions},
    store::{
        self,
        connections::{ProviderSubject, StoredConnection},
    },
};

impl Connections {
    /// Records that a person at a provider is a user. Repeated it changes nothing.
    pub(crate) async fn link_user(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        request: LinkUserRequest,
    ) -> Result<(), IdentityError> {
        let LinkUserRequest {
            user_id,
            connection_id,
            subject,
            ..
        } = request;
        if subject.is_empty() || subject.len() > 255 {
            return Err(IdentityError::invalid(
                "subject",
                "is the claim \"sub\" of the person, or who the person is at a SAML provider: 1 to 255 bytes",
            ));
        }
        let linked = self.log.mutate_once(tailnet, caller.to_string(), move |mutation| {
            Box::pin(async move {
                let (now, on) = (mutation.now(), mutation.connection());
                let StoredConnection { connection, .. } =
                    find_own(on, tailnet, connection_id).await?;
                let user = store::find_user(&mut *on, tailnet.get(), user_id).await?;
                let user = user.ok_or(IdentityError::NotFound("user"))?;
                caller.check(|by| decisions::may_link_user(by, user.role()))?;
                let issuer = provider_issuer(&connection);
                let person = ProviderSubject {
                    connection_id,
                    issuer,
                    subject: &subject,
                };
                match store::connections::find_linked_user(on, person).await? {
                    Some(linked) if linked == user_id => return Ok(()),
                    Some(_) => {
                        return Err(IdentityError::Refused(
                            "this person is another user here already: unlink it there first (bowline connections unlink), or merge the two (bowline users merge)",
                        ));
                    }
                    None => {
                        store::connections::link_user(on, person, tailnet.get(), user_id, now)
                            .await?
                    }
                }
                let detail =
                    json!({ "connection": connection.name, "issuer": issuer, "subject": subject });
                mutation.record_audit("user.link", user.login_name, &detail);
                Ok::<_, IdentityError>(())
            })
        });
        linked.await?;
        Ok(())
    }

    /// Forgets that a person at a provider is a user.
    pub(crate) async fn unlink_user(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        request: UnlinkUserRequest,
    ) -> Result<(), IdentityError> {
        let UnlinkUserRequest {
            user_id,
            connection_id,
            subject,
            ..
        } = request;
        let unlinked = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let on = mutation.connection();
                    let StoredConnection { connection, .. } =
                        find_own(on, tailnet, connection_id).await?;
                    let user = store::find_user(&mut *on, tailnet.get(), user_id).await?;
                    let user = user.ok_or(IdentityError::NotFound("user"))?;
                    caller.check(|by| decisions::may_link_user(by, user.role()))?;
                    if !store::connections::unlink_person(on, connection_id, &subject, user_id)
                        .await?
                    {
                        return Err(IdentityError::NotFound("link of the user"));
                    }
                    store::provider_refreshes::end_refresh(on, connection_id, &subject, None)
                        .await?;
                    let links = store::connections::list_links(&mut *on, tailnet.get(), user_id);
                    let links = links.await?;
                    end_sessions(mutation, connection_id, user_id, SessionEnd::of_unlink()).await?;
                    if links.iter().all(|link| link.connection_id != connection_id) {
                        apply_claim(mutation, &connection, user_id, &[]).await?;
                    }
                    let detail = json!({ "connection": connection.name, "subject": subject });
                    mutation.record_audit("user.unlink", user.login_name, &detail);
                    Ok::<_, IdentityError>(())
                })
            });
        unlinked.await?;
        Ok(())
    }

    /// Returns who a user is at providers.
    pub(crate) async fn list_links(
        &self,
        tailnet: TailnetId,
        user_id: u64,
    ) -> Result<Vec<UserLink>, IdentityError> {
        let reader = self.log.database().reader();
        Ok(store::connections::list_links(reader, tailnet.get(), user_id).await?)
    }
}
