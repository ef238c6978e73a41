//! The service put together.

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SharedClock;
use bowline_db::{
    AnswerKeeper, AuditRpcs, ChangeLog, Database, DatabaseOpenError, DatabaseOptions,
    DeploymentRpcs, Migrations, migrations,
};
use bowline_proto::key_registry::v1::{
    audit_service_server::AuditServiceServer, deployment_service_server::DeploymentServiceServer,
    key_registry_service_server::KeyRegistryServiceServer, node_service_server::NodeServiceServer,
    pre_auth_key_service_server::PreAuthKeyServiceServer,
    registration_service_server::RegistrationServiceServer,
    tailnet_lock_service_server::TailnetLockServiceServer,
};
use bowline_service_kit::Tasks;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tonic::{Status, service::RoutesBuilder};

use crate::{
    adoption::Adoption,
    approval_questions::ApprovalQuestions,
    asked_services::AskedServices,
    changes::RegistryChangesReader,
    error::RegistryError,
    fields::read_tailnet_id,
    grpc::RegistryRpcs,
    identity_follower::IdentityFollower,
    leases::Leases,
    nodes::Nodes,
    pre_auth_keys::PreAuthKeys,
    registration::Registration,
    reports::Reports,
    revocations::{ProgressSignal, Revocations},
    sweeper::Sweeper,
    tailnet_lock::TailnetLocks,
};

/// The steps of the schema.
pub(crate) const MIGRATIONS: Migrations = migrations![
    "0001_registry",
    "0002_presence",
    "0003_fleet",
    "0004_hard_state",
    "0005_tagged_by",
    "0006_paces",
    "0007_node_machines",
    "0008_merged_users",
    "0009_waiting_nodes",
    "0010_kept_out",
    "0011_tailnet_lock",
    "0012_expiry_notices",
    "0013_attributes",
    "0014_rotation",
    "0015_approval_questions",
    "0016_control_keys",
    "0017_kept_out_machines",
];

/// Gateways find that their lease has lapsed, and report again all that they have: their reports may be lost.
const EPOCH_STEPS: &[&str] = &["UPDATE gateways SET expires_at = {now} WHERE expires_at > {now}"];

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

/// The key registry: the parts that serve, put together. Clones share them.
#[derive(Clone, Debug)]
pub struct KeyRegistry {
    database: Database,
    answers: AnswerKeeper,
    registration: Registration,
    nodes: Nodes,
    pre_auth_keys: PreAuthKeys,
    audit: AuditRpcs,
    locks: TailnetLocks,
    rpcs: RegistryRpcs,
}

impl KeyRegistry {
    /// Returns how the service's database is opened.
    #[must_use]
    pub fn database_options(clock: SharedClock) -> DatabaseOptions {
        DatabaseOptions {
            epoch_steps: EPOCH_STEPS,
            ..DatabaseOptions::new("key_registry", MIGRATIONS, clock)
        }
    }

    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened.
    pub fn start<'a>(
        url: &'a str,
        config: RegistryConfig,
        services: AskedServices,
        bus: Bus,
        clock: SharedClock,
        tasks: &'a Tasks,
    ) -> BoxFuture<'a, Result<Self, DatabaseOpenError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let database = Database::open(url, Self::database_options(clock)).await?;
            Ok(Self::assemble(database, &config, services, &bus, tasks))
        })
    }

    /// Puts the service together on a database that is open, and starts what runs in the background.
    #[must_use]
    pub fn assemble(
        database: Database,
        config: &RegistryConfig,
        services: AskedServices,
        bus: &Bus,
        tasks: &Tasks,
    ) -> Self {
        let log = ChangeLog::new(database.clone(), bus.clone(), LogOwner::KeyRegistry);
        let progress = ProgressSignal::new(bus.clone());
        progress.start_listening(tasks);
        let adoption = Adoption::new(log.clone(), services.clone());
        tasks.spawn_background("adopt-reports", adoption.clone().run());
        let ephemeral_age = TimeDelta::seconds(config.ephemeral_seconds.cast_signed());
        let sweeper = Sweeper::new(log.clone(), config.offline_grace(), ephemeral_age);
        tasks.spawn_background("sweep-registry", sweeper.clone().run());
        tasks.spawn_background("compact-registry", sweeper.clone().compact_log());
        tasks.spawn_background("find-retired-keys", sweeper.find_retired_keys());
        IdentityFollower::new(log.clone(), adoption.clone()).start(
            services.identity.clone(),
            bus,
            tasks,
        );
        let revocations = Revocations::new(log.clone(), progress.clone());
        let nodes = Nodes::new(log.clone(), services.clone(), adoption.clone(), revocations);
        let questions = ApprovalQuestions::new(log.clone(), services.clone(), nodes.clone());
        tasks.spawn_background("ask-approvals", questions.clone().run());
        let reports = Reports::new(log.clone(), adoption.clone(), config.offline_grace());
        let leases = Leases::new(log.clone(), progress);
        let changes = RegistryChangesReader::new(log.clone());
        let locks = TailnetLocks::new(log.clone(), services.clone());
        Self {
            answers: AnswerKeeper::start(database.clone(), tasks),
            database,
            registration: Registration::new(log.clone(), services.clone(), adoption, questions),
            pre_auth_keys: PreAuthKeys::new(log.clone(), services),
            audit: AuditRpcs::new(
                log,
                |number| read_tailnet_id(number).map_err(Status::from),
                |error| RegistryError::from(error).into(),
            ),
            rpcs: RegistryRpcs::new(nodes.clone(), reports, leases, changes),
            locks,
            nodes,
        }
    }

    /// Returns the service's own database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        /// The longest report batch: what it writes is read back by followers in one piece.
        const LONGEST_MESSAGE: usize = 8 << 20;
        let registry = KeyRegistryServiceServer::new(self.rpcs.clone());
        let to_status = |error| RegistryError::from(error).into();
        let deployment = DeploymentRpcs::new(self.database.clone(), to_status);
        let once = &self.answers;
        routes
            .add_service(RegistrationServiceServer::new(self.registration.clone()))
            .add_service(once.around(NodeServiceServer::new(self.nodes.clone())))
            .add_service(once.around(PreAuthKeyServiceServer::new(self.pre_auth_keys.clone())))
            .add_service(AuditServiceServer::new(self.audit.clone()))
            .add_service(DeploymentServiceServer::new(deployment))
            .add_service(TailnetLockServiceServer::new(self.locks.clone()))
            .add_service(registry.max_decoding_message_size(LONGEST_MESSAGE));
    }
}
