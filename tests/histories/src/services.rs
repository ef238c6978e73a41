//! The real services of all histories: identity, policy compiler, and two replicas of the key registry on one database.

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::{ManualClock, SharedClock, SystemClock};
use bowline_db::{DatabaseOptions, TimeSource};
use bowline_identity::{Identity, IdentityConfig};
use bowline_key_registry::{AskedServices, KeyRegistry};
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_service_kit::{
    Caller, DeferredServices, GrpcChannel, ServiceName, Shutdown, Tasks, config::Secret,
};
use bowline_test_servers::TestDatabase;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AnyPool, any::AnyPoolOptions};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use tonic::service::Routes;

use crate::replica::{RegistryReplica, channels_to_any, keep_on};

/// Seals secrets that no history has.
const SEALING_KEY: &str = "bowline-sealing-key-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// How long a state is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a replica is started from.
pub(crate) struct ReplicaBase {
    pub(crate) url: String,
    pub(crate) options: DatabaseOptions,
    pub(crate) bus: Bus,
}

/// The services. The registry's time is the test's; identity's is the real one, and no login gets old in a test.
#[expect(missing_debug_implementations, reason = "a failure prints the history")]
pub struct TestReplicas {
    owners: DeferredServices,
    replicas: [RegistryReplica; 2],
    bus: Bus,
    clock: Arc<ManualClock>,
    /// The registry's tables, past the service.
    tables: AnyPool,
    database: TestDatabase,
}

impl TestReplicas {
    /// Starts them on an empty database.
    pub async fn start(database: TestDatabase) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, owners) = (Bus::in_process(), DeferredServices::default());
        let replicas = [RegistryReplica::new(), RegistryReplica::new()];
        let mut routes = Routes::builder();
        let settings = IdentityConfig {
            sealing_key: Some(Secret::new(SEALING_KEY.to_owned())),
            ..IdentityConfig::default()
        };
        let real: SharedClock = Arc::new(SystemClock);
        let url = database.url("identity");
        let identity = Identity::start(
            &url,
            &settings,
            None,
            bus.clone(),
            Arc::clone(&real),
            &tasks,
        );
        identity.await.unwrap().add_to(&mut routes);
        let compiler = Caller::Service(ServiceName::PolicyCompiler);
        let followed = FollowedServices {
            identity: owners.channel_for(compiler.clone()),
            registry: channels_to_any(&replicas).channel_for(compiler),
        };
        let url = database.url("policy");
        let compiler = PolicyCompiler::start(&url, followed, bus.clone(), real, &tasks);
        compiler.await.unwrap().add_to(&mut routes);
        owners.set_routes(keep_on(Handle::current(), routes.routes()));

        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let clock = Arc::new(ManualClock::new(start));
        sqlx::any::install_default_drivers();
        // The replica makes the tables.
        let url = database.url("registry");
        let tables = AnyPoolOptions::new().max_connections(4).connect_lazy(&url);
        let services = Self {
            owners,
            replicas,
            bus,
            clock,
            tables: tables.unwrap(),
            database,
        };
        services.restart(0).await;
        services.restart(1).await;
        services
    }

    /// Starts a replica, again.
    pub async fn restart(&self, replica: usize) {
        let clock: SharedClock = Arc::clone(&self.clock) as SharedClock;
        let base = ReplicaBase {
            url: self.database.url("registry"),
            options: DatabaseOptions {
                time: TimeSource::Clock,
                ..KeyRegistry::database_options(clock)
            },
            bus: self.bus.clone(),
        };
        let own = Caller::Service(ServiceName::KeyRegistry);
        let asked = AskedServices {
            identity: self.owners.channel_for(own.clone()),
            compiler: self.owners.channel_for(own),
        };
        self.replicas[replica].start(base, asked).await;
    }

    /// Ends a replica in the middle of what it does.
    pub fn crash(&self, replica: usize) {
        self.replicas[replica].crash();
    }

    /// Returns a channel on which an administrator calls identity and the policy compiler.
    #[must_use]
    pub fn owners_admin(&self) -> GrpcChannel {
        self.owners.channel_for(administrator())
    }

    /// Returns a channel on which a gateway calls identity and the policy compiler.
    #[must_use]
    pub fn owners_gateway(&self) -> GrpcChannel {
        self.owners
            .channel_for(Caller::Service(ServiceName::NetmapGateway))
    }

    /// Returns a channel on which an administrator calls a replica.
    #[must_use]
    pub fn admin(&self, replica: usize) -> GrpcChannel {
        self.replicas[replica]
            .channels()
            .channel_for(administrator())
    }

    /// Returns a channel on which a gateway calls a replica.
    #[must_use]
    pub fn gateway(&self, replica: usize) -> GrpcChannel {
        let gateway = Caller::Service(ServiceName::NetmapGateway);
        self.replicas[replica].channels().channel_for(gateway)
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// Waits before a call is made again that had no answer: the first time hardly at all.
    pub async fn wait_for_next_try(&self, tries: usize) {
        if tries > 0 {
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns what time it is in the registry.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        use bowline_clock::Clock as _;
        self.clock.now()
    }

    /// Waits until a sweep has ended every key that is due.
    pub async fn await_sweep(&self) {
        let table = self.table("nodes");
        let sql = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM {table} WHERE expired = 0 AND key_expiry <= $1"
        );
        let deadline = Instant::now() + PATIENCE;
        loop {
            let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.clone()));
            let query = query.bind(bowline_db::to_micros(self.now()));
            let due: i64 = query.fetch_one(&self.tables).await.unwrap();
            if due == 0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{due} keys are not ended by time"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the registry's tables, past the service.
    pub(crate) fn tables(&self) -> &AnyPool {
        &self.tables
    }

    /// Returns how a statement past the service names one of the registry's tables.
    pub(crate) fn table(&self, name: &str) -> String {
        self.database.table("key_registry", name)
    }
}

fn administrator() -> Caller {
    Caller::Admin {
        name: "test".to_owned(),
    }
}
