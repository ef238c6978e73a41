//! Asks providers, by the refresh tokens of people's last logins, whether they still vouch for them.
//!
//! One row a person and connection. What it takes to ask is looked at first, so that a provider that is down costs its people
//! nothing. Then a replica takes some rows, by moving their time on, and notes that it asks; each replica takes others. An
//! answer is written in place of the token that was used. A process that ends between the two, or an answer that is lost, leaves
//! the note: the token may be used up, so that a refusal afterwards ends the sessions only, whatever the connection says. A
//! provider is asked about few people at a time, and none waits for another.

mod apply;

use std::{collections::BTreeSet, time::Duration};

use bowline_db::to_micros;
use bowline_ids::TailnetId;
use bowline_oidc::{
    ClientRegistration, RefreshError, RefreshRequest, RefreshedLogin, refresh_login,
};
use bowline_proto::identity::v1::{Connection, LoginEndEffect, OidcProvider};
use bowline_sealing::SealingKeys;
use chrono::TimeDelta;
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinSet;

use crate::{
    domain::connection::refresh_interval,
    error::IdentityError,
    fields::read_tailnet_id,
    login_attempts::provider::{oidc_provider, wanted_claims},
    secrets::{open_refresh_token, seal_refresh_token},
    sessions::BrowserSessions,
    store::{
        self,
        connections::StoredConnection,
        provider_refreshes::{RefreshClaim, RefreshRow},
    },
};

/// How often it is looked for whom to ask about.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many people a replica takes in one look, and how many of them a provider is asked about at once.
const MOST_OF_CONNECTION: i64 = 20;
const MOST_OF_CONNECTION_AT_ONCE: usize = 5;
/// How many providers are asked at once.
const MOST_AT_ONCE: usize = 50;
/// When a row is taken again whose taker was not heard of: later than all that one look takes, and before the end of `PAUSE`.
const CLAIM: TimeDelta = TimeDelta::minutes(2);
/// When a provider that can not be asked is asked again.
const PAUSE: TimeDelta = TimeDelta::minutes(5);

/// Asks until the process ends.
pub(crate) struct ProviderRefresher {
    sessions: BrowserSessions,
}

/// A provider that is asked about people, with what that takes.
struct AskedProvider<'a> {
    connection: &'a Connection,
    oidc: &'a OidcProvider,
    tailnet: TailnetId,
    registration: ClientRegistration,
    interval: TimeDelta,
    keys: &'a SealingKeys,
}

impl AskedProvider<'_> {
    /// Returns a token as it is stored, sealed by the newest key.
    fn seal(&self, row: &RefreshRow, token: &str) -> Vec<u8> {
        seal_refresh_token(self.keys, row.connection_id, &row.subject, token)
    }
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
        tracing::warn!(%error, connection, "people whom a provider is to be asked about wait");
    }
    connection
}

impl BrowserSessions {
    /// Asks a connection's provider about some of those who are due. Where nobody is answered, the others would fare no better,
    /// and wait.
    async fn refresh_some(&self, connection_id: u64) -> Result<(), IdentityError> {
        // Who is made due after this is asked about all the same.
        let began = self.log.database().now().await?;
        let asked = self.ask_about_some(connection_id).await;
        if !matches!(asked, Ok(true)) {
            self.postpone_refreshes(connection_id, began).await?;
        }
        asked.map(drop)
    }

    /// Says whether the provider has answered.
    async fn ask_about_some(&self, connection_id: u64) -> Result<bool, IdentityError> {
        let stored = self.connections.find_stored(connection_id).await?;
        let Some(asked) = self.prepare_asking(&stored).await? else {
            self.forget_refreshes(connection_id).await?;
            return Ok(true);
        };
        let claimed = self.log.database().write(|write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                let (next, most) = (now + CLAIM, MOST_OF_CONNECTION);
                let claim = store::provider_refreshes::claim_due;
                Ok::<_, IdentityError>(claim(on, connection_id, now, next, most).await?)
            })
        });
        let claimed = claimed.await?;
        if claimed.is_empty() {
            // Other replicas have taken them.
            return Ok(true);
        }
        let answered = stream::iter(claimed)
            .map(|claim| self.refresh_one(&asked, claim))
            .buffer_unordered(MOST_OF_CONNECTION_AT_ONCE)
            .fold(false, async |any, one| any | one);
        Ok(answered.await)
    }

    /// Opens and finds all that it takes to ask a provider; `None` where it is not to be asked.
    async fn prepare_asking<'a>(
        &'a self,
        stored: &'a StoredConnection,
    ) -> Result<Option<AskedProvider<'a>>, IdentityError> {
        let connection = &stored.connection;
        let oidc = oidc_provider(connection)?;
        let Some(interval) = refresh_interval(oidc) else {
            return Ok(None);
        };
        let registration = self.attempts.registration(stored, oidc, &oidc.issuer)?;
        let providers = self.attempts.providers();
        providers.require_provider(&registration).await?;
        Ok(Some(AskedProvider {
            connection,
            oidc,
            tailnet: read_tailnet_id(connection.tailnet_id)?,
            registration,
            interval,
            keys: self.connections.sealing_keys()?,
        }))
    }

    /// Asks about a person, and writes what becomes of it. Says whether the provider has answered.
    async fn refresh_one(&self, asked: &AskedProvider<'_>, claim: RefreshClaim) -> bool {
        self.ask_about(asked, claim).await.unwrap_or_else(|error| {
            let connection = asked.connection.id;
            tracing::warn!(%error, connection, "what a provider says of a person is not written");
            true
        })
    }

    async fn ask_about(
        &self,
        asked: &AskedProvider<'_>,
        claim: RefreshClaim,
    ) -> Result<bool, IdentityError> {
        let row = &claim.row;
        let connection = asked.connection.id;
        let database = self.log.database();
        let sealed = &row.sealed_token;
        let opened = open_refresh_token(asked.keys, row.connection_id, &row.subject, sealed);
        let token = match opened {
            Ok(token) => token,
            Err(error) => {
                // Another replica may have a key that this one has not yet.
                tracing::warn!(%error, connection, "a person is asked about after the next login");
                let next = RefreshRow {
                    due_at: to_micros(database.now().await? + asked.interval),
                    ..row.clone()
                };
                self.finish_refresh(claim, next).await?;
                return Ok(true);
            }
        };
        let request = RefreshRequest {
            registration: &asked.registration,
            refresh_token: &token,
            subject: &row.subject,
            wanted_claims: &wanted_claims(asked.oidc),
            now: database.now().await?,
        };
        let answered = refresh_login(self.attempts.providers(), request).await;
        let now = database.now().await?;
        match answered {
            Ok(RefreshedLogin {
                identity,
                refresh_token,
            }) => {
                let next = RefreshRow {
                    sealed_token: asked.seal(row, refresh_token.as_ref().unwrap_or(&token)),
                    due_at: to_micros(now + asked.interval),
                    asked_at: 0,
                    ..row.clone()
                };
                if self.finish_refresh(claim, next.clone()).await?
                    && let Some(identity) = identity
                {
                    self.apply_refreshed(asked, next, identity).await?;
                }
                Ok(true)
            }
            Err(RefreshError::Refused(words)) => {
                tracing::info!(words, connection, "a provider vouches for a person no more");
                let effect = match row.asked_at {
                    0 => asked.oidc.on_refusal(),
                    _ => LoginEndEffect::Sessions,
                };
                self.apply_refusal(asked, claim, effect, words).await?;
                Ok(true)
            }
            Err(error) => {
                tracing::info!(%error, connection, "nothing changes");
                let is_lost = row.asked_at != 0 || matches!(error, RefreshError::Lost(_));
                let next = RefreshRow {
                    sealed_token: asked.seal(row, &token),
                    due_at: to_micros(now + asked.interval.min(PAUSE)),
                    asked_at: if is_lost { to_micros(now) } else { 0 },
                    ..row.clone()
                };
                self.finish_refresh(claim, next).await?;
                Ok(false)
            }
        }
    }
}
