//! Exports the heads of an owner's trails on a schedule. One replica at a time does it; what a crash leaves undone is exported
//! again, and a head that is there twice says the same.

use std::time::Duration;

use bowline_db::{Database, DatabaseError};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_service_kit::{AuditConfig, AuditStoreConfig, ServiceName, config::Secret};
use chrono::TimeDelta;
use http::Uri;
use tokio::time::MissedTickBehavior;

use crate::{
    AuditKey, AuditKeyError, HeadExportError, SignedHead,
    destination::HeadDestination,
    head::HeadFacts,
    s3::S3Store,
    store::{self, UnexportedHead},
};

/// How often it is looked whether an export is due, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long after a failure it is tried again.
const RETRY: TimeDelta = TimeDelta::seconds(60);
/// What an answer may take.
const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 64 << 10,
    deadline: Duration::from_secs(30),
};

/// What is wrong with the `[audit]` table.
#[derive(Debug, thiserror::Error)]
pub enum AuditSettingsError {
    /// Heads are to be exported, and there is no key.
    #[error(
        "audit.signing_key is not set: heads are exported signed. `bowline audit-key create FILE` makes a key, name the file in audit.signing_key_file"
    )]
    NoKey,
    /// The key is none.
    #[error("audit.signing_key: {0}")]
    Key(#[from] AuditKeyError),
    /// A URL is none.
    #[error("audit.{0} is no http or https URL with a host")]
    Url(&'static str),
    /// What names objects has other signs.
    #[error(
        "audit.s3.{0} is empty, or has other signs than letters, digits, \"/\", \"-\", \"_\" and \".\""
    )]
    Name(&'static str),
}

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
                    let destination = destination.name();
                    metrics::counter!("bowline_audit_export_failures_total", "destination" => destination).increment(1);
                    tracing::error!(destination, %error, "heads of the audit trails can not be exported");
                }
            }
        }
        done
    }

    async fn take_turn(&self, destination: &HeadDestination) -> Result<bool, TurnError> {
        let name = destination.name();
        let now = self.database.now().await?;
        if !store::take_turn(&self.database, name, now + self.interval).await? {
            return Ok(false);
        }
        let exported = self.export_heads(destination).await;
        if exported.is_err() && RETRY < self.interval {
            store::set_turn(&self.database, name, now + RETRY).await?;
        }
        exported.map(|()| true)
    }

    async fn export_heads(&self, destination: &HeadDestination) -> Result<(), TurnError> {
        let mut after = 0;
        loop {
            let heads = store::list_unexported(&self.database, destination.name(), after).await?;
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
            store::mark_exported(&self.database, destination.name(), heads).await?;
        }
    }

    fn sign_line(&self, head: &UnexportedHead, now: chrono::DateTime<chrono::Utc>) -> String {
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

fn read_destinations(config: &AuditConfig) -> Result<Vec<HeadDestination>, AuditSettingsError> {
    let mut found = Vec::new();
    if let Some(directory) = &config.directory {
        found.push(HeadDestination::Directory(directory.clone()));
    }
    if let Some(url) = &config.webhook_url {
        found.push(HeadDestination::Webhook {
            url: read_url("webhook_url", url)?,
            token: config
                .webhook_token
                .clone()
                .filter(|token| !token.expose().is_empty()),
        });
    }
    if !config.s3.bucket.is_empty() {
        found.push(HeadDestination::S3(read_store(&config.s3)?));
    }
    Ok(found)
}

fn read_url(setting: &'static str, text: &str) -> Result<Uri, AuditSettingsError> {
    let url: Option<Uri> = text.parse().ok();
    let fits =
        |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    url.filter(fits).ok_or(AuditSettingsError::Url(setting))
}

fn read_store(config: &AuditStoreConfig) -> Result<S3Store, AuditSettingsError> {
    let is_plain = |text: &str| {
        text.chars()
            .all(|sign| sign.is_ascii_alphanumeric() || "/-_.".contains(sign))
    };
    for (setting, text, may_be_empty) in [
        ("bucket", &config.bucket, false),
        ("prefix", &config.prefix, true),
        ("region", &config.region, false),
        ("access_key_id", &config.access_key_id, false),
    ] {
        if !is_plain(text) || (text.is_empty() && !may_be_empty) {
            return Err(AuditSettingsError::Name(setting));
        }
    }
    Ok(S3Store {
        endpoint: read_url("s3.endpoint", &config.endpoint)?,
        region: config.region.clone(),
        bucket: config.bucket.clone(),
        prefix: config.prefix.clone(),
        access_key_id: config.access_key_id.clone(),
        secret_access_key: config
            .secret_access_key
            .clone()
            .unwrap_or_else(|| Secret::new(String::new())),
    })
}
