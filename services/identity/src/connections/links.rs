//! Who is who at a provider, as administrators say.

use bowline_ids::TailnetId;
use bowline_proto::{access::decisions, identity::v1::LinkUserRequest};
use bowline_service_kit::Caller;
use serde_json::json;

use super::{Connections, find_own, provider_issuer};
use crate::{
    error::IdentityError,
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
        let linked = self.log.mutate(tailnet, caller.to_string(), move |mutation| {
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
                            "this person is another user here already: delete that user first",
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
}
