//! What is done each minute: login names get their folded form, old logins, attempts and credentials are deleted, and the log is
//! compacted. Once at the start: secrets are sealed again that an older key has sealed.

use std::time::Duration;

use bowline_db::ChangeLog;
use chrono::TimeDelta;

use crate::{connections::Connections, error::IdentityError, store};

const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How long a login is kept after its end: its device may still ask what became of it.
const KEPT_LOGINS: TimeDelta = TimeDelta::hours(1);
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
        match self.connections.reseal_secrets().await {
            Ok(0) => {}
            Ok(resealed) => tracing::info!(resealed, "secrets are sealed with the newest key"),
            Err(error) => tracing::warn!(%error, "secrets can not be sealed again"),
        }
        loop {
            if let Err(error) = self.fold_names().await {
                tracing::warn!(%error, "login names can not be folded");
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
            if let Err(error) = self.forget_logins().await {
                tracing::warn!(%error, "old logins can not be forgotten");
            }
            if let Err(error) = self.log.compact_entries(KEPT_ENTRIES, KEPT_AGE).await {
                tracing::warn!(%error, "the log can not be compacted");
            }
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

    async fn forget_logins(&self) -> Result<(), IdentityError> {
        let forgotten = self.log.database().write(|write| {
            Box::pin(async move {
                let before = write.now() - KEPT_LOGINS;
                store::logins::forget_logins(write.connection(), before).await?;
                let ended = write.now();
                store::attempts::forget_attempts(write.connection(), ended).await?;
                store::saml::forget_messages(write.connection(), ended).await?;
                let before = ended - KEPT_CREDENTIALS;
                store::credentials::forget_ended(write.connection(), ended, before).await?;
                Ok::<_, IdentityError>(())
            })
        });
        forgotten.await
    }
}
