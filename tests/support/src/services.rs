//! Starting the services.

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::{SharedClock, SystemClock};
use bowline_identity::Identity;
use bowline_key_registry::{AskedServices, KeyRegistry, RegistryConfig};
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_proto::identity::v1::User;
use bowline_service_kit::{Caller, DeferredServices, GrpcChannel, ServiceName, Shutdown, Tasks};
use bowline_test_servers::TestDatabase;
use tonic::service::Routes;

/// The three owners of hard state in one process.
#[expect(
    missing_debug_implementations,
    reason = "a test prints what it asks for"
)]
pub struct TestServices {
    channels: DeferredServices,
    /// The tailnet `home`.
    pub tailnet: u64,
    /// Its user, `amira@example.com`.
    pub user: User,
    /// What they keep their state in; another process can be started on it.
    pub database: TestDatabase,
}

impl TestServices {
    /// Starts them on a database that is empty, or as earlier ones left it.
    pub async fn start(database: TestDatabase) -> Self {
        Self::start_with_clock(database, Arc::new(SystemClock)).await
    }

    /// Starts them by a clock of the test's; on PostgreSQL time is the database's all the same.
    pub async fn start_with_clock(database: TestDatabase, clock: SharedClock) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, channels) = (Bus::in_process(), DeferredServices::default());
        let channel = |service| channels.channel_for(Caller::Service(service));
        let [identity, registry, policies] =
            ["identity", "registry", "policy"].map(|owner| database.url(owner));
        let mut routes = Routes::builder();

        let identity = Identity::start(&identity, bus.clone(), clock.clone(), &tasks);
        identity.await.unwrap().add_to(&mut routes);

        let own = ServiceName::KeyRegistry;
        let peers = AskedServices {
            identity: channel(own),
            compiler: channel(own),
        };
        let config = RegistryConfig::default();
        let (registry_bus, registry_clock) = (bus.clone(), clock.clone());
        let registry = KeyRegistry::start(
            &registry,
            config,
            peers,
            registry_bus,
            registry_clock,
            &tasks,
        );
        registry.await.unwrap().add_to(&mut routes);

        let own = ServiceName::PolicyCompiler;
        let followed = FollowedServices {
            identity: channel(own),
            registry: channel(own),
        };
        let compiler = PolicyCompiler::start(&policies, followed, bus, clock, &tasks);
        compiler.await.unwrap().add_to(&mut routes);

        channels.set_routes(routes.routes());
        let user = crate::tailnets::find_or_create_home(&admin(&channels)).await;
        Self {
            channels,
            tailnet: user.tailnet_id,
            user,
            database,
        }
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

fn admin(channels: &DeferredServices) -> GrpcChannel {
    let name = "test".to_owned();
    channels.channel_for(Caller::Admin { name })
}

/// Returns a channel to a service that is away.
#[must_use]
pub fn unreachable_channel() -> GrpcChannel {
    GrpcChannel::admin_socket("/nonexistent/bowline.sock")
}
