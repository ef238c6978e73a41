//! Asks providers, by the refresh tokens of people's last logins, whether they still vouch for them.
//!
//! One row a person and connection. Of several replicas one takes a row, by moving its time on, and notes that it asks. The
//! answer is written in place of the token that was used. A process that ends between the two, or an answer that is lost,
//! leaves the note: the token may be used up, so that a refusal afterwards ends the sessions only, whatever the connection says.
//! A provider is asked about few people at a time, and none waits for another.

mod apply;

use std::{collections::BTreeSet, time::Duration};

use bowline_db::to_micros;
use bowline_oidc::{RefreshError, RefreshRequest, refresh_login};
use bowline_proto::identity::v1::LoginEndEffect;
use chrono::TimeDelta;
use tokio::task::JoinSet;

use crate::{
    domain::connection::refresh_interval,
    error::IdentityError,
    fields::read_tailnet_id,
    login_attempts::provider::{oidc_provider, wanted_claims},
    secrets::{open_refresh_token, seal_refresh_token},
    sessions::BrowserSessions,
    store::{self, connections::StoredConnection, provider_refreshes::RefreshRow},
};

/// How often it is looked for whom to ask about.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many people a provider is asked about in one look.
const MOST_OF_CONNECTION: i64 = 5;
/// How many providers are asked at once.
const MOST_AT_ONCE: usize = 50;
/// When a row is taken again whose taker was not heard of.
const CLAIM: TimeDelta = TimeDelta::minutes(2);
/// When a provider that can not be asked is asked again.
const PAUSE: TimeDelta = TimeDelta::minutes(5);

/// Asks until the process ends.
pub(crate) struct ProviderRefresher {
    sessions: BrowserSessions,
}

impl ProviderRefresher {
    pub(crate) fn new(sessions: BrowserSessions) -> Self {
        Self { sessions }
    }

    pub(crate) async fn run(self) {
        let (mut asking, mut busy) = (JoinSet::new(), BTreeSet::new());
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            while let Some(done) = asking.try_join_next() {
                match done {
                    Ok(connection) => drop(busy.remove(&connection)),
                    // Which it was is not known. A row is taken once all the same.
                    Err(error) => {
                        tracing::error!(%error, "asking a provider about people has failed");
                        busy.clear();
                    }
                }
            }
            let due = match self.list_due_connections().await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "it is not known whom to ask providers about");
                    continue;
                }
            };
            for connection in due {
                if busy.len() < MOST_AT_ONCE && busy.insert(connection) {
                    asking.spawn(refresh_some(self.sessions.clone(), connection));
                }
            }
        }
    }

    async fn list_due_connections(&self) -> Result<Vec<u64>, IdentityError> {
        let database = self.sessions.log.database();
        let now = database.now().await?;
        Ok(store::provider_refreshes::list_due_connections(database.reader(), now).await?)
    }
}

async fn refresh_some(sessions: BrowserSessions, connection: u64) -> u64 {
    if let Err(error) = sessions.refresh_some(connection).await {
        tracing::warn!(%error, connection, "a provider can not be asked about people");
    }
    connection
}

impl BrowserSessions {
    /// Asks a connection's provider about some of those who are due.
    async fn refresh_some(&self, connection_id: u64) -> Result<(), IdentityError> {
        let database = self.log.database();
        let now = database.now().await?;
        let stored = self.connections.find_stored(connection_id).await?;
        let (reader, most) = (database.reader(), MOST_OF_CONNECTION);
        let due = store::provider_refreshes::list_due(reader, connection_id, now, most).await?;
        for row in due {
            let claimed = row.clone();
            let claimed = database.write(|write| {
                Box::pin(async move {
                    let (now, on) = (write.now(), write.connection());
                    let next = now + CLAIM;
                    let claimed =
                        store::provider_refreshes::claim_refresh(on, &claimed, now, next).await?;
                    Ok::<_, IdentityError>(claimed)
                })
            });
            if claimed.await? {
                self.refresh_one(&stored, row).await?;
            }
        }
        Ok(())
    }

    async fn refresh_one(
        &self,
        stored: &StoredConnection,
        row: RefreshRow,
    ) -> Result<(), IdentityError> {
        let connection = &stored.connection;
        let tailnet = read_tailnet_id(connection.tailnet_id)?;
        let oidc = oidc_provider(connection)?;
        let Some(interval) = refresh_interval(oidc) else {
            return self.forget_refresh(row).await;
        };
        let keys = self.connections.sealing_keys()?;
        let opened = open_refresh_token(keys, row.connection_id, &row.subject, &row.sealed_token);
        let token = match opened {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(%error, connection = connection.id, "a person is asked about after the next login");
                return self.forget_refresh(row).await;
            }
        };
        let registration = self.attempts.registration(stored, oidc, &oidc.issuer)?;
        let database = self.log.database();
        let asked = RefreshRequest {
            registration: &registration,
            refresh_token: &token,
            subject: &row.subject,
            wanted_claims: &wanted_claims(oidc),
            now: database.now().await?,
        };
        let answered = refresh_login(self.attempts.providers(), asked).await;
        let now = database.now().await?;
        match answered {
            Ok(refreshed) => {
                let seal = |token| seal_refresh_token(keys, row.connection_id, &row.subject, token);
                let sealed = refreshed.refresh_token.as_ref().map(|token| seal(token));
                let next = RefreshRow {
                    sealed_token: sealed.unwrap_or_else(|| row.sealed_token.clone()),
                    due_at: to_micros(now + interval),
                    asked_at: 0,
                    ..row.clone()
                };
                self.finish_refresh(row, next).await?;
                self.apply_refreshed(tailnet, connection, refreshed).await
            }
            Err(RefreshError::Refused(words)) => {
                tracing::info!(
                    words,
                    connection = connection.id,
                    "a provider vouches for a person no more"
                );
                let effect = match row.asked_at {
                    0 => oidc.on_refusal(),
                    _ => LoginEndEffect::Sessions,
                };
                self.apply_refusal(tailnet, connection, row, effect).await
            }
            Err(error) => {
                tracing::info!(%error, connection = connection.id, "nothing changes");
                let is_lost = row.asked_at != 0 || matches!(error, RefreshError::Lost(_));
                let next = RefreshRow {
                    due_at: to_micros(now + interval.min(PAUSE)),
                    asked_at: if is_lost { to_micros(now) } else { 0 },
                    ..row.clone()
                };
                self.finish_refresh(row, next).await
            }
        }
    }
}
