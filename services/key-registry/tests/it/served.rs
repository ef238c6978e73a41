//! The services the registry needs, and what is asked of it.

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_identity::Identity;
use bowline_key_registry::{KeyRegistry, Peers, RegistryConfig};
use bowline_policy_compiler::PolicyCompiler;
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, tailnet_service_client::TailnetServiceClient,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, Node, PreAuthKey, RefusalReason, RegisterRequest,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
};
use bowline_service_kit::{Caller, GrpcChannel, Later, ServiceName, Shutdown, Tasks};
use bowline_test_servers::PostgresServer;
use tonic::service::Routes;

/// The three owners in one process, with a tailnet and a user.
pub(crate) struct Served {
    services: Later,
    pub(crate) tailnet: u64,
    pub(crate) user: u64,
    /// What the databases live in.
    _held: Box<dyn std::any::Any>,
}

impl Served {
    pub(crate) async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let url = move |name: &str| format!("sqlite://{}", path.join(name).display());
        Self::start(url, Box::new(directory)).await
    }

    pub(crate) async fn on_postgres() -> Option<Self> {
        let server = PostgresServer::shared().unwrap()?;
        let url = server.new_database().unwrap();
        Some(Self::start(move |_| url.clone(), Box::new(server)).await)
    }

    async fn start(url: impl Fn(&str) -> String, held: Box<dyn std::any::Any>) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, clock) = (Bus::in_process(), Arc::new(SystemClock));
        let services = Later::default();
        let channel = |service| services.channel(Caller::Service(service));
        let mut routes = Routes::builder();
        let url_of_identity = url("identity");
        let identity = Identity::start(&url_of_identity, bus.clone(), clock.clone(), &tasks);
        identity.await.unwrap().add_to(&mut routes);
        let own = ServiceName::KeyRegistry;
        let peers = Peers {
            identity: channel(own),
            compiler: channel(own),
        };
        let config = RegistryConfig::default();
        let url_of_registry = url("registry");
        let registry = KeyRegistry::start(
            &url_of_registry,
            config,
            peers,
            bus.clone(),
            clock.clone(),
            &tasks,
        );
        registry.await.unwrap().add_to(&mut routes);
        let own = ServiceName::PolicyCompiler;
        let sources = (channel(own), channel(own));
        let url_of_policies = url("policy");
        let compiler = PolicyCompiler::start(&url_of_policies, sources, bus, clock, &tasks);
        compiler.await.unwrap().add_to(&mut routes);
        services.serve(routes.routes());

        let admin = services.channel(Caller::Admin {
            name: "test".to_owned(),
        });
        let request = CreateTailnetRequest {
            name: "home".to_owned(),
            settings: None,
        };
        let made = TailnetServiceClient::new(admin.clone())
            .create_tailnet(request)
            .await
            .unwrap();
        let tailnet = made.into_inner().tailnet.unwrap().id;
        let login_name = "amira@example.com".to_owned();
        let request = CreateUserRequest {
            tailnet_id: tailnet,
            login_name,
            ..Default::default()
        };
        let made = UserServiceClient::new(admin)
            .create_user(request)
            .await
            .unwrap();
        let user = made.into_inner().user.unwrap().id;
        Self {
            services,
            tailnet,
            user,
            _held: held,
        }
    }

    pub(crate) fn admin(&self) -> GrpcChannel {
        self.services.channel(Caller::Admin {
            name: "test".to_owned(),
        })
    }

    pub(crate) fn gateway(&self) -> GrpcChannel {
        self.services
            .channel(Caller::Service(ServiceName::NetmapGateway))
    }

    pub(crate) async fn key(&self, reusable: bool) -> String {
        let key = PreAuthKey {
            tailnet_id: self.tailnet,
            user_id: self.user,
            reusable,
            ..PreAuthKey::default()
        };
        let request = CreatePreAuthKeyRequest { key: Some(key) };
        let mut client = PreAuthKeyServiceClient::new(self.admin());
        client
            .create_pre_auth_key(request)
            .await
            .unwrap()
            .into_inner()
            .secret
    }

    pub(crate) async fn register(&self, request: RegisterRequest) -> Outcome {
        let mut client = RegistrationServiceClient::new(self.gateway());
        client
            .register(request)
            .await
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
    }

    pub(crate) async fn registered(&self, request: RegisterRequest) -> Node {
        match self.register(request).await {
            Outcome::Registered(registered) => registered.node.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn request(machine: u8, node: u8) -> RegisterRequest {
    RegisterRequest {
        machine_key: vec![machine; 32],
        node_key: vec![node; 32],
        hostname: "laptop".to_owned(),
        ..RegisterRequest::default()
    }
}

pub(crate) fn with_key(machine: u8, node: u8, key: &str) -> RegisterRequest {
    RegisterRequest {
        pre_auth_key: key.to_owned(),
        ..request(machine, node)
    }
}

pub(crate) fn refusal(outcome: Outcome) -> RefusalReason {
    match outcome {
        Outcome::Refused(refused) => refused.reason(),
        other => panic!("{other:?}"),
    }
}

/// Runs one case on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $name() { super::$name(crate::served::Served::on_sqlite().await).await; })* }
        mod postgres { $(#[tokio::test] async fn $name() {
            let Some(served) = crate::served::Served::on_postgres().await else { return };
            super::$name(served).await;
        })* }
    };
}

pub(crate) use on_both;
