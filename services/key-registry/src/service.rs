//! The service put together.

use std::{sync::Arc, time::Duration};

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SharedClock;
use bowline_db::{ChangeLog, Database, DatabaseOpenError, DatabaseOptions, Migrations, migrations};
use bowline_proto::key_registry::v1::{
    audit_service_server::AuditServiceServer,
    key_registry_service_server::KeyRegistryServiceServer, node_service_server::NodeServiceServer,
    pre_auth_key_service_server::PreAuthKeyServiceServer,
    registration_service_server::RegistrationServiceServer,
};
use bowline_service_kit::{GrpcChannel, Tasks};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::{Notify, Semaphore};
use tonic::service::RoutesBuilder;

use crate::{
    adoption, identity_follower, registration::ForeignKeyAudits, revocation::ProgressSignal,
    sweeper,
};

/// The steps of the schema.
pub(crate) const MIGRATIONS: Migrations = migrations![
    "0001_registry",
    "0002_presence",
    "0003_fleet",
    "0004_hard_state",
    "0005_tagged_by",
    "0006_paces"
];

/// How many snapshots are made and sent at the same time; others wait.
const SNAPSHOTS: usize = 4;

/// The `[registry]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// How long an ephemeral node is kept after it went offline, in seconds.
    pub ephemeral_seconds: u64,
    /// How long a node without session still counts as online, in seconds.
    pub offline_grace_seconds: u64,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            ephemeral_seconds: 300,
            offline_grace_seconds: 10,
        }
    }
}

impl RegistryConfig {
    pub(crate) fn offline_grace(&self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(self.offline_grace_seconds.cast_signed())
    }
}

/// The services the registry asks.
#[derive(Clone, Debug)]
pub struct AskedServices {
    /// Identity: users and logins.
    pub identity: GrpcChannel,
    /// Policy compiler: tags and routes.
    pub compiler: GrpcChannel,
}

/// The key registry. Clones share it.
#[derive(Clone, Debug)]
pub struct KeyRegistry {
    pub(crate) log: ChangeLog,
    pub(crate) peers: AskedServices,
    pub(crate) config: RegistryConfig,
    pub(crate) foreign: Arc<ForeignKeyAudits>,
    pub(crate) progress: ProgressSignal,
    /// Wakes what takes over kept reports.
    pub(crate) due: Arc<Notify>,
    /// Bounds how many snapshots are made and sent at the same time.
    pub(crate) snapshots: Arc<Semaphore>,
}

impl KeyRegistry {
    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened.
    pub fn start<'a>(
        url: &'a str,
        config: RegistryConfig,
        peers: AskedServices,
        bus: Bus,
        clock: SharedClock,
        tasks: &'a Tasks,
    ) -> BoxFuture<'a, Result<Self, DatabaseOpenError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let options = DatabaseOptions::new("key_registry", MIGRATIONS, clock);
            let database = Database::open(url, options).await?;
            let log = ChangeLog::new(database, bus.clone(), LogOwner::KeyRegistry);
            let registry = Self {
                log,
                peers,
                config,
                foreign: Arc::default(),
                progress: ProgressSignal::new(bus.clone()),
                due: Arc::default(),
                snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            };
            registry.progress.start_listening(tasks);
            tasks.spawn_background("sweep-registry", sweeper::run(registry.clone()));
            tasks.spawn_background(
                "compact-registry",
                sweeper::compact_regularly(registry.clone()),
            );
            tasks.spawn_background("adopt-reports", adoption::run(registry.clone()));
            identity_follower::start_following(&registry, &bus, tasks);
            Ok(registry)
        })
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        /// The longest report batch: what it writes is read back by followers in one piece.
        const LONGEST_MESSAGE: usize = 8 << 20;
        let registry = KeyRegistryServiceServer::new(self.clone());
        routes
            .add_service(RegistrationServiceServer::new(self.clone()))
            .add_service(NodeServiceServer::new(self.clone()))
            .add_service(PreAuthKeyServiceServer::new(self.clone()))
            .add_service(AuditServiceServer::new(self.clone()))
            .add_service(registry.max_decoding_message_size(LONGEST_MESSAGE));
    }

    /// Compacts the log now and then.
    pub(crate) async fn compact_log(&self) {
        const KEPT_ENTRIES: u32 = 100_000;
        const KEPT_AGE: Duration = Duration::from_secs(600);
        if let Err(error) = self.log.compact_entries(KEPT_ENTRIES, KEPT_AGE).await {
            tracing::warn!(%error, "the log can not be compacted");
        }
    }
}
