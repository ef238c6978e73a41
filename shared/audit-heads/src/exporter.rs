//! Exports the heads of an owner's trails on a schedule. One replica at a time does it; what a crash leaves undone is exported
//! again, and a head that is there twice says the same.

use std::time::Duration;

use bowline_db::{Database, DatabaseError};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_service_kit::{AuditConfig, ServiceName};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::MissedTickBehavior;

use crate::{
    AuditKey, AuditPublicKey, AuditSettingsError, HeadExportError, SignedHead,
    destination::HeadDestination,
    head::HeadFacts,
    settings::read_destinations,
    store::{self, UnexportedHead},
};

/// How often it is looked whether an export is due, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long after a failure it is tried again.
const RETRY: TimeDelta = TimeDelta::seconds(60);
/// How often all heads are exported, those that a destination has, too: what the database says of that is not believed for ever.
const ALL_INTERVAL: TimeDelta = TimeDelta::days(1);
/// What an answer may take.
const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 64 << 10,
    deadline: Duration::from_secs(30),
};

/// Exports the heads of one owner.
pub struct HeadExporter {
    database: Database,
    owner: ServiceName,
    key: AuditKey,
    destinations: Vec<HeadDestination>,
    interval: TimeDelta,
    client: HttpClient,
}

/// Why a destination did not get all heads.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error("{0}")]
    Database(#[from] DatabaseError),
    #[error("{0}")]
    Export(#[from] HeadExportError),
}

impl HeadExporter {
    /// Returns what exports as the settings say; `None` where they name no destination.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn new(
        database: Database,
        owner: ServiceName,
        config: &AuditConfig,
    ) -> Result<Option<Self>, AuditSettingsError> {
        let destinations = read_destinations(config)?;
        if destinations.is_empty() {
            return Ok(None);
        }
        let key = config
            .signing_key
            .as_ref()
            .ok_or(AuditSettingsError::NoKey)?;
        Ok(Some(Self {
            database,
            owner,
            key: key.expose().parse()?,
            destinations,
            interval: TimeDelta::seconds(i64::from(config.export_seconds.max(1))),
            client: HttpClient::new(Destinations::Anywhere, LIMITS),
        }))
    }

    /// Exports until the process ends. What fails is tried again.
    pub async fn run(self) {
        self.report_other_keys().await;
        let interval = self.interval.to_std().unwrap_or(LOOK_INTERVAL);
        let mut ticks = tokio::time::interval(interval.min(LOOK_INTERVAL));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.export_due().await;
        }
    }

    /// Exports to the destinations whose turn it is; returns to how many.
    pub async fn export_due(&self) -> usize {
        let mut done = 0;
        for destination in &self.destinations {
            match self.take_turn(destination).await {
                Ok(was_due) => done += usize::from(was_due),
                Err(error) => {
                    let destination = destination.kind();
                    metrics::counter!("bowline_audit_export_failures_total", "destination" => destination).increment(1);
                    tracing::error!(destination, %error, "heads of the audit trails can not be exported");
                }
            }
        }
        done
    }

    /// Returns the destinations whose newest heads another key has signed, with that key.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn find_other_keys(
        &self,
    ) -> Result<Vec<(&'static str, AuditPublicKey)>, DatabaseError> {
        let own = self.key.public();
        let mut found = Vec::new();
        for destination in &self.destinations {
            let there = destination.find_newest_key(self.owner.as_str()).await;
            let noted = store::find_signer(&self.database, &destination.name()).await?;
            let other = [there, noted.and_then(|key| key.parse().ok())];
            let other = other.into_iter().flatten().find(|key| *key != own);
            found.extend(other.map(|key| (destination.kind(), key)));
        }
        Ok(found)
    }

    async fn report_other_keys(&self) {
        match self.find_other_keys().await {
            Ok(found) => {
                for (destination, before) in found {
                    let (owner, key) = (self.owner.as_str(), self.key.public());
                    tracing::error!(
                        owner, destination, %before, %key,
                        "heads of the audit trails were signed by another audit key until now: if nobody has put another in its place, the file was lost or taken away; verify older heads with --signed-by of the key before"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(%error, "it is not known which audit key has signed heads before");
            }
        }
    }

    async fn take_turn(&self, destination: &HeadDestination) -> Result<bool, TurnError> {
        let name = destination.name();
        let now = self.database.now().await?;
        let is_due = store::take_turn(&self.database, &name, now, self.interval).await?;
        if is_due {
            let exported = self.export_heads(destination).await;
            if exported.is_err() && RETRY < self.interval {
                store::set_turn(&self.database, &name, now + RETRY).await?;
            }
            exported?;
            let signer = self.key.public().to_string();
            store::note_export(&self.database, &name, now, signer).await?;
        }
        self.show_age(destination, now).await?;
        Ok(is_due)
    }

    /// Each replica shows when any of them has exported last. Until then it is the time of the first look.
    async fn show_age(
        &self,
        destination: &HeadDestination,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let exported = store::find_export_time(&self.database, &destination.name()).await?;
        let (owner, kind) = (self.owner.as_str(), destination.kind());
        #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^52")]
        let seconds = exported.unwrap_or(now).min(now).timestamp() as f64;
        metrics::gauge!("bowline_audit_export_timestamp_seconds", "owner" => owner, "destination" => kind)
            .set(seconds);
        Ok(())
    }

    async fn export_heads(&self, destination: &HeadDestination) -> Result<(), TurnError> {
        let name = destination.name();
        let now = self.database.now().await?;
        let all = format!("{name}/all");
        let is_all = store::take_turn(&self.database, &all, now, ALL_INTERVAL).await?;
        let exported = self.export_pages(destination, is_all).await;
        if is_all && exported.is_err() {
            store::set_turn(&self.database, &all, now).await?;
        }
        exported
    }

    async fn export_pages(
        &self,
        destination: &HeadDestination,
        is_all: bool,
    ) -> Result<(), TurnError> {
        let (name, mut after) = (destination.name(), 0);
        loop {
            let heads = match is_all {
                true => store::list_heads(&self.database, after).await?,
                false => store::list_unexported(&self.database, &name, after).await?,
            };
            let Some(last) = heads.last() else {
                return Ok(());
            };
            after = last.tailnet_id;
            let now = self.database.now().await?;
            let lines = heads.iter().map(|head| self.sign_line(head, now)).collect();
            let owner = self.owner.as_str();
            destination
                .add_lines(owner, lines, now, &self.client)
                .await?;
            store::mark_exported(&self.database, &name, heads).await?;
        }
    }

    fn sign_line(&self, head: &UnexportedHead, now: DateTime<Utc>) -> String {
        let facts = HeadFacts {
            owner: self.owner.as_str(),
            tailnet_id: head.tailnet_id.cast_unsigned(),
            sequence: head.sequence.cast_unsigned(),
            hash: &head.hash,
        };
        let signed = SignedHead::sign(facts, now, &self.key);
        let line = serde_json::to_string(&signed).unwrap_or_default();
        line + "\n"
    }
}
