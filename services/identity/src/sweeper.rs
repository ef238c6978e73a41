//! What is done each minute: login names get their folded form, old logins, attempts and credentials are deleted, and the log
//! is compacted. At the start and each hour: secrets are sealed again that an older key has sealed, and group names that an older
//! release has written become memberships.

use std::time::Duration;

use bowline_db::ChangeLog;
use chrono::TimeDelta;

use crate::{
    connections::Connections, domain::ssh, error::IdentityError, fields::read_tailnet_id,
    memberships::adopt_names, store,
};

/// Who does what nobody has asked for, in audit entries.
const IDENTITY_ACTOR: &str = "service:identity";

const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How many sweeps come between two looks at the rows of all users, and at all secrets.
const SWEEPS_BETWEEN_LOOKS: u32 = 60;
/// How long a login is kept after its end: its device may still ask what became of it.
const KEPT_LOGINS: TimeDelta = TimeDelta::hours(1);
/// How long events that could not be delivered are kept.
const KEPT_UNDELIVERED: TimeDelta = TimeDelta::days(30);
/// How long credentials are listed after their end.
const KEPT_CREDENTIALS: TimeDelta = TimeDelta::days(30);
/// How many entries of the log are kept in any case, and for how long all are.
const KEPT_ENTRIES: u32 = 100_000;
const KEPT_AGE: Duration = Duration::from_secs(600);

/// Sweeps regularly.
#[derive(Clone)]
pub(crate) struct IdentitySweeper {
    log: ChangeLog,
    connections: Connections,
}

impl IdentitySweeper {
    pub(crate) fn new(log: ChangeLog, connections: Connections) -> Self {
        Self { log, connections }
    }

    /// Sweeps until the process ends. What fails is tried again a minute later.
    pub(crate) async fn run(self) {
        for sweep in (0..SWEEPS_BETWEEN_LOOKS).cycle() {
            if sweep == 0 {
                self.look_at_everything().await;
            }
            if let Err(error) = self.fold_names().await {
                tracing::warn!(%error, "login names can not be folded");
            }
            if let Err(error) = self.forget_logins().await {
                tracing::warn!(%error, "old logins can not be forgotten");
            }
            if let Err(error) = self.log.compact_entries(KEPT_ENTRIES, KEPT_AGE).await {
                tracing::warn!(%error, "the log can not be compacted");
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }

    async fn look_at_everything(&self) {
        match self.connections.reseal_secrets().await {
            Ok(0) => {}
            Ok(resealed) => tracing::info!(resealed, "secrets are sealed with the newest key"),
            Err(error) => tracing::warn!(%error, "secrets can not be sealed again"),
        }
        if let Err(error) = self.adopt_groups().await {
            tracing::warn!(%error, "groups of an older release can not be taken over");
        }
    }

    /// Fills in the folded login names that an older release leaves out. It may still run beside this one, so that this is
    /// done again and again.
    async fn fold_names(&self) -> Result<(), IdentityError> {
        loop {
            let folded = self.log.database().write(|write| {
                Box::pin(async move {
                    Ok::<_, IdentityError>(store::fold_some_names(write.connection()).await?)
                })
            });
            if folded.await? == 0 {
                return Ok(());
            }
        }
    }

    /// Takes over the group names in rows that an older release has written. It may still run beside this one, so that this
    /// is done again. Each tailnet's users, 500 at most, are one change: what is taken over stays so after a restart.
    async fn adopt_groups(&self) -> Result<(), IdentityError> {
        let mut after = Some(0);
        while let Some(number) = after {
            let reader = self.log.database().reader();
            let (tailnets, next) = store::list_users_with_old_names(reader, number).await?;
            after = next;
            for (tailnet, users) in tailnets {
                let tailnet = read_tailnet_id(tailnet)?;
                let adopted = self.log.mutate(tailnet, IDENTITY_ACTOR, move |mutation| {
                    Box::pin(async move {
                        for user in users {
                            adopt_names(mutation, user).await?;
                        }
                        Ok::<_, IdentityError>(())
                    })
                });
                adopted.await?;
            }
        }
        Ok(())
    }

    async fn forget_logins(&self) -> Result<(), IdentityError> {
        let forgotten = self.log.database().write(|write| {
            Box::pin(async move {
                let before = write.now() - KEPT_LOGINS;
                store::logins::forget_logins(write.connection(), before).await?;
                let ended = write.now();
                store::attempts::forget_attempts(write.connection(), ended).await?;
                store::sessions::forget_sessions(write.connection(), ended).await?;
                store::webhooks::forget_old_secrets(write.connection(), ended).await?;
                let before = ended - KEPT_UNDELIVERED;
                store::webhook_events::forget_undelivered(write.connection(), before).await?;
                store::invitations::forget_invitations(write.connection(), ended).await?;
                store::saml::forget_messages(write.connection(), ended).await?;
                let before = ended - ssh::LONGEST_PERIOD;
                store::ssh_checks::forget_checks(write.connection(), before).await?;
                let on = write.connection();
                store::provider_sessions::forget_provider_sessions(on, ended).await?;
                let before = ended - KEPT_CREDENTIALS;
                store::credentials::forget_ended(write.connection(), ended, before).await?;
                Ok::<_, IdentityError>(())
            })
        });
        forgotten.await
    }
}
