//! What becomes of a provider's answer.

use bowline_db::Mutation;
use bowline_ids::TailnetId;
use bowline_oidc::ProviderIdentity;
use bowline_proto::identity::v1::{Connection, LoginEndEffect, RefreshConnectionResponse};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{AskedProvider, CLAIM, PAUSE};
use crate::{
    domain::{connection::refresh_interval, person::check_still_admitted},
    error::IdentityError,
    login_attempts::provider::oidc_provider,
    memberships::apply_claim,
    person::{read_person, says_mail},
    provider_logins::{SessionEnd, actor_of, end_sessions, suspend_by},
    scim::is_provisioned_by,
    sessions::BrowserSessions,
    store::{
        self,
        connections::ProviderSubject,
        provider_refreshes::{RefreshClaim, RefreshRow},
    },
    users::require_user,
};

impl BrowserSessions {
    /// Writes what the provider is asked by next, unless the person has logged in again meanwhile; says whether that was
    /// written.
    pub(super) async fn finish_refresh(
        &self,
        claim: RefreshClaim,
        next: RefreshRow,
    ) -> Result<bool, IdentityError> {
        let finished = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                let finish = store::provider_refreshes::finish_refresh;
                Ok::<_, IdentityError>(finish(on, &claim, &next).await?)
            })
        });
        finished.await
    }

    /// Forgets what a provider is asked by that is asked no more.
    pub(super) async fn forget_refreshes(&self, connection_id: u64) -> Result<(), IdentityError> {
        let forgotten = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                store::provider_refreshes::end_of_connection(on, connection_id).await?;
                Ok::<_, IdentityError>(())
            })
        });
        forgotten.await
    }

    /// Leaves a provider alone for a while that can not be asked about those who were due at a time.
    pub(super) async fn postpone_refreshes(
        &self,
        connection_id: u64,
        due: DateTime<Utc>,
    ) -> Result<(), IdentityError> {
        let postponed = self.log.database().write(|write| {
            Box::pin(async move {
                let (until, on) = (write.now() + PAUSE, write.connection());
                let postpone = store::provider_refreshes::postpone_due;
                postpone(on, connection_id, due, until).await?;
                Ok::<_, IdentityError>(())
            })
        });
        postponed.await
    }

    /// Lets a person be in the groups that the provider says now. Whom the connection does not admit any more, that ends as a
    /// refusal of the provider does. `row` is what the provider is asked by next.
    pub(super) async fn apply_refreshed(
        &self,
        asked: &AskedProvider<'_>,
        row: RefreshRow,
        identity: ProviderIdentity,
    ) -> Result<(), IdentityError> {
        let person = read_person(asked.oidc, &identity);
        let says_mail = says_mail(asked.oidc, &identity);
        let (connection, effect) = (asked.connection.clone(), asked.oidc.on_refusal());
        let actor = actor_of(&connection);
        let applied = self.log.mutate(asked.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let subject = ProviderSubject {
                    connection_id: connection.id,
                    issuer: &person.issuer,
                    subject: &person.subject,
                };
                let (tailnet, on) = (mutation.tailnet(), mutation.connection());
                let Some(id) = store::connections::find_linked_user(on, subject).await? else {
                    return Ok(());
                };
                let user = match &person.groups {
                    Some(claimed) => apply_claim(mutation, &connection, id, claimed).await?,
                    None => require_user(on, tailnet, id).await?,
                };
                let on = mutation.connection();
                if is_provisioned_by(on, connection.id, id).await? {
                    return Ok(());
                }
                let judged = check_still_admitted(&connection, &person, says_mail, &user);
                if let Err(refusal) = judged
                    && store::provider_refreshes::delete_refresh(on, &row).await?
                {
                    let words = refusal.to_string();
                    end_by_refusal(mutation, &connection, &row.subject, effect, &words).await?;
                }
                Ok::<_, IdentityError>(())
            })
        });
        applied.await?;
        Ok(())
    }

    /// Ends what the connection says, unless the person has logged in again meanwhile.
    pub(super) async fn apply_refusal(
        &self,
        asked: &AskedProvider<'_>,
        claim: RefreshClaim,
        effect: LoginEndEffect,
        words: String,
    ) -> Result<(), IdentityError> {
        let connection = asked.connection.clone();
        let actor = actor_of(&connection);
        let ended = self.log.mutate(asked.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                // A person who has logged in again meanwhile is not concerned.
                if !store::provider_refreshes::delete_claimed(on, &claim).await? {
                    return Ok(());
                }
                let subject = &claim.row.subject;
                end_by_refusal(mutation, &connection, subject, effect, &words).await
            })
        });
        ended.await?;
        Ok(())
    }

    /// Lets everybody who has logged in by a connection be asked about now. Returns how many people.
    pub(crate) async fn hasten_refreshes(
        &self,
        tailnet: TailnetId,
        actor: String,
        connection_id: u64,
    ) -> Result<RefreshConnectionResponse, IdentityError> {
        let found = self
            .connections
            .find_connection(tailnet, connection_id)
            .await?;
        if refresh_interval(oidc_provider(&found)?).is_none() {
            return Err(IdentityError::Refused(
                "the provider is not asked about people after their login: bowline connections set-refresh",
            ));
        }
        let hastened = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let (now, on) = (mutation.now(), mutation.connection());
                let hasten = store::provider_refreshes::hasten_refreshes;
                let people = hasten(on, connection_id, now, CLAIM).await?;
                Ok::<_, IdentityError>(RefreshConnectionResponse { people })
            })
        });
        Ok(hastened.await?.0)
    }
}

/// Ends what a connection says of a person whom its provider refuses, or whom it admits no more, and records why.
async fn end_by_refusal(
    mutation: &mut Mutation,
    connection: &Connection,
    subject: &str,
    effect: LoginEndEffect,
    words: &str,
) -> Result<(), IdentityError> {
    let (tailnet, on) = (mutation.tailnet(), mutation.connection());
    let person = ProviderSubject {
        connection_id: connection.id,
        issuer: &oidc_provider(connection)?.issuer,
        subject,
    };
    let Some(user_id) = store::connections::find_linked_user(on, person).await? else {
        return Ok(());
    };
    let user = require_user(on, tailnet, user_id).await?;
    let detail = json!({ "connection": connection.name, "reason": words });
    mutation.record_audit("user.refuse", user.login_name, &detail);
    end_sessions(
        mutation,
        connection.id,
        user_id,
        SessionEnd::of_provider(None),
    )
    .await?;
    if effect == LoginEndEffect::Suspend {
        suspend_by(mutation, connection, user_id).await?;
    }
    Ok(())
}
