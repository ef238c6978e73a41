//! What becomes of a provider's answer.

use bowline_ids::TailnetId;
use bowline_oidc::RefreshedLogin;
use bowline_proto::identity::v1::{Connection, LoginEndEffect};

use super::CLAIM;
use crate::{
    domain::connection::refresh_interval,
    error::IdentityError,
    login_attempts::provider::oidc_provider,
    memberships::apply_claim,
    person::read_person,
    provider_logins::{actor_of, end_sessions, suspend_by},
    sessions::BrowserSessions,
    store::{self, connections::ProviderSubject, provider_refreshes::RefreshRow},
};

impl BrowserSessions {
    /// Writes what the provider is asked by next, unless the person has logged in again meanwhile.
    pub(super) async fn finish_refresh(
        &self,
        row: RefreshRow,
        next: RefreshRow,
    ) -> Result<(), IdentityError> {
        let finished = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                store::provider_refreshes::finish_refresh(on, &row, &next).await?;
                Ok::<_, IdentityError>(())
            })
        });
        finished.await
    }

    /// Forgets what the provider is asked by: it is asked again after the next login.
    pub(super) async fn forget_refresh(&self, row: RefreshRow) -> Result<(), IdentityError> {
        let forgotten = self.log.database().write(|write| {
            Box::pin(async move {
                store::provider_refreshes::delete_refresh(write.connection(), &row).await?;
                Ok::<_, IdentityError>(())
            })
        });
        forgotten.await
    }

    /// Lets a person be in the groups that the provider says now.
    pub(super) async fn apply_refreshed(
        &self,
        tailnet: TailnetId,
        connection: &Connection,
        refreshed: RefreshedLogin,
    ) -> Result<(), IdentityError> {
        let Some(identity) = refreshed.identity else {
            return Ok(());
        };
        let Some(claimed) = read_person(oidc_provider(connection)?, &identity).groups else {
            return Ok(());
        };
        let connection = connection.clone();
        let changed = self
            .log
            .mutate(tailnet, actor_of(&connection), move |mutation| {
                Box::pin(async move {
                    let person = ProviderSubject {
                        connection_id: connection.id,
                        issuer: &identity.issuer,
                        subject: &identity.subject,
                    };
                    let on = mutation.connection();
                    if let Some(id) = store::connections::find_linked_user(on, person).await? {
                        apply_claim(mutation, &connection, id, &claimed).await?;
                    }
                    Ok::<_, IdentityError>(())
                })
            });
        changed.await?;
        Ok(())
    }

    /// Ends what the connection says, unless the person has logged in again meanwhile.
    pub(super) async fn apply_refusal(
        &self,
        tailnet: TailnetId,
        connection: &Connection,
        row: RefreshRow,
        effect: LoginEndEffect,
    ) -> Result<(), IdentityError> {
        let connection = connection.clone();
        let issuer = oidc_provider(&connection)?.issuer.clone();
        let ended = self
            .log
            .mutate(tailnet, actor_of(&connection), move |mutation| {
                Box::pin(async move {
                    let on = mutation.connection();
                    if !store::provider_refreshes::delete_refresh(on, &row).await? {
                        return Ok(());
                    }
                    let person = ProviderSubject {
                        connection_id: connection.id,
                        issuer: &issuer,
                        subject: &row.subject,
                    };
                    let Some(user_id) = store::connections::find_linked_user(on, person).await?
                    else {
                        return Ok(());
                    };
                    end_sessions(mutation, connection.id, user_id, None).await?;
                    if effect == LoginEndEffect::Suspend {
                        suspend_by(mutation, &connection, user_id).await?;
                    }
                    Ok::<_, IdentityError>(())
                })
            });
        ended.await?;
        Ok(())
    }

    /// Lets everybody who has logged in by a connection be asked about now. Returns how many people.
    pub(crate) async fn hasten_refreshes(
        &self,
        tailnet: TailnetId,
        connection_id: u64,
    ) -> Result<u64, IdentityError> {
        let found = self
            .connections
            .find_connection(tailnet, connection_id)
            .await?;
        if refresh_interval(oidc_provider(&found)?).is_none() {
            return Err(IdentityError::Refused(
                "the provider is not asked about people after their login: bowline connections set-refresh",
            ));
        }
        let hastened = self.log.database().write(|write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                let hasten = store::provider_refreshes::hasten_refreshes;
                let people = hasten(on, connection_id, now, CLAIM).await?;
                Ok::<_, IdentityError>(people)
            })
        });
        hastened.await
    }
}
