//! Starting the services.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::{SharedClock, SystemClock};
use bowline_db::{Database, DatabaseOptions, TimeSource};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_identity::{Identity, IdentityBase, TrailServices};
use bowline_key_registry::{AskedServices, KeyRegistry, RegistryConfig};
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_proto::identity::v1::User;
use bowline_sealing::SealingKeys;
use bowline_service_kit::{Caller, DeferredServices, GrpcChannel, ServiceName, Shutdown, Tasks};
use bowline_test_servers::TestDatabase;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use tonic::service::Routes;

/// Seals the secrets of identity providers.
const SEALING_KEY: &str = "bowline-sealing-key-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// What answers from outside may take.
const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 1 << 20,
    deadline: Duration::from_secs(10),
};

/// How often each RPC was called, by its path.
type Calls = Arc<Mutex<BTreeMap<String, usize>>>;

/// The three owners of hard state in one process.
#[expect(
    missing_debug_implementations,
    reason = "a test prints what it asks for"
)]
pub struct TestServices {
    channels: DeferredServices,
    calls: Calls,
    /// The tailnet `home`.
    pub tailnet: u64,
    /// Its user, `amira@example.com`.
    pub user: User,
    /// What they keep their state in; another process can be started on it.
    pub database: TestDatabase,
    time: (SharedClock, TimeSource),
    bus: Bus,
}

impl TestServices {
    /// Starts them on a database that is empty, or as earlier ones left it.
    pub async fn start(database: TestDatabase) -> Self {
        Self::start_with_webhooks(database, unused_client()).await
    }

    /// Starts them by a clock of the test's; on PostgreSQL the registry alone goes by it.
    pub async fn start_with_clock(database: TestDatabase, clock: SharedClock) -> Self {
        let by = (clock, TimeSource::Clock);
        Self::start_parts(database, by, unused_client()).await
    }

    /// Starts them with a client that reaches the webhooks of a test.
    pub async fn start_with_webhooks(database: TestDatabase, webhook_client: HttpClient) -> Self {
        let by: (SharedClock, _) = (Arc::new(SystemClock), TimeSource::Server);
        Self::start_parts(database, by, webhook_client).await
    }

    async fn start_parts(
        database: TestDatabase,
        time: (SharedClock, TimeSource),
        webhook_client: HttpClient,
    ) -> Self {
        let clock = Arc::clone(&time.0);
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, channels) = (Bus::in_process(), DeferredServices::default());
        let registry_bus = bus.clone();
        let channel = |service| channels.channel_for(Caller::Service(service));
        let [identity, registry, policies] =
            ["identity", "registry", "policy"].map(|owner| database.url(owner));
        let mut routes = Routes::builder();

        let trails = TrailServices {
            registry: channel(ServiceName::Identity),
            compiler: channel(ServiceName::Identity),
        };
        // Where the identity providers of tests listen.
        let also = vec![Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into()];
        let options = Identity::database_options(clock.clone());
        let base = IdentityBase {
            database: Database::open(&identity, options).await.unwrap(),
            bus: bus.clone(),
            sealing_keys: Some(SealingKeys::parse(SEALING_KEY).unwrap()),
            provider_client: HttpClient::new(Destinations::Public { also }, LIMITS),
            webhook_client,
            trail_services: Some(trails),
            public_url: String::new(),
        };
        Identity::assemble(base, &tasks).add_to(&mut routes);

        let own = ServiceName::KeyRegistry;
        let peers = AskedServices {
            identity: channel(own),
            compiler: channel(own),
        };
        let registry = start_registry(&registry, time.clone(), peers, &bus).await;
        registry.add_to(&mut routes);

        let own = ServiceName::PolicyCompiler;
        let followed = FollowedServices {
            identity: channel(own),
            registry: channel(own),
        };
        let compiler = PolicyCompiler::start(&policies, followed, bus, clock, &tasks);
        compiler.await.unwrap().add_to(&mut routes);

        let calls = Calls::default();
        channels.set_routes(count_calls(routes.routes(), &calls));
        let user = crate::tailnets::find_or_create_home(&admin(&channels)).await;
        Self {
            channels,
            calls,
            tailnet: user.tailnet_id,
            user,
            database,
            time,
            bus: registry_bus,
        }
    }

    /// Starts another replica of the registry, and returns a channel on which a gateway calls it.
    pub async fn start_second_registry(&self) -> GrpcChannel {
        let channel = || self.service(ServiceName::KeyRegistry);
        let peers = AskedServices {
            identity: channel(),
            compiler: channel(),
        };
        let url = self.database.url("registry");
        let registry = start_registry(&url, self.time.clone(), peers, &self.bus).await;
        let mut routes = Routes::builder();
        registry.add_to(&mut routes);
        let channels = DeferredServices::default();
        channels.set_routes(routes.routes());
        channels.channel_for(Caller::Service(ServiceName::NetmapGateway))
    }

    /// Returns how often an RPC of identity was called so far.
    #[must_use]
    pub fn count_identity_calls(&self, rpc: &str) -> usize {
        let path = format!("/bowline.identity.v1.IdentityService/{rpc}");
        self.calls.lock().get(&path).copied().unwrap_or(0)
    }

    /// Returns a channel on which an administrator calls.
    #[must_use]
    pub fn admin(&self) -> GrpcChannel {
        admin(&self.channels)
    }

    /// Returns a channel on which a gateway calls.
    #[must_use]
    pub fn gateway(&self) -> GrpcChannel {
        self.service(ServiceName::NetmapGateway)
    }

    /// Returns a channel on which a service calls.
    #[must_use]
    pub fn service(&self, service: ServiceName) -> GrpcChannel {
        self.channels.channel_for(Caller::Service(service))
    }
}

/// Returns a client of webhooks for tests that have none.
fn unused_client() -> HttpClient {
    HttpClient::new(Destinations::Anywhere, LIMITS)
}

async fn start_registry(
    url: &str,
    (clock, time): (SharedClock, TimeSource),
    peers: AskedServices,
    bus: &Bus,
) -> KeyRegistry {
    let options = DatabaseOptions {
        time,
        ..KeyRegistry::database_options(clock)
    };
    let database = Database::open(url, options).await.unwrap();
    let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
    KeyRegistry::assemble(database, &RegistryConfig::default(), peers, bus, &tasks)
}

/// Lets each call be counted on its way in.
fn count_calls(routes: Routes, calls: &Calls) -> Routes {
    let calls = Arc::clone(calls);
    let count = move |request: axum::extract::Request| {
        let path = request.uri().path().to_owned();
        *calls.lock().entry(path).or_default() += 1;
        async { request }
    };
    let router = routes.into_axum_router();
    router.layer(axum::middleware::map_request(count)).into()
}

fn admin(channels: &DeferredServices) -> GrpcChannel {
    let name = "test".to_owned();
    channels.channel_for(Caller::Admin { name })
}

/// Returns a channel to a service that is away.
#[must_use]
pub fn unreachable_channel() -> GrpcChannel {
    GrpcChannel::admin_socket("/nonexistent/bowline.sock")
}
