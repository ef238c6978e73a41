//! The owners of hard state in one process, for tests of what asks them.

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::{SharedClock, SystemClock};
use bowline_identity::Identity;
use bowline_key_registry::{KeyRegistry, Peers, RegistryConfig};
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, UpdateUserRequest, User,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, Node, PreAuthKey, RegisterRequest,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
};
use bowline_service_kit::{Caller, DeferredServices, GrpcChannel, ServiceName, Shutdown, Tasks};
use prost_types::FieldMask;
use tempfile::TempDir;
use tonic::service::Routes;

/// The owners in one process.
pub(crate) struct TestOwners {
    services: DeferredServices,
    directory: TempDir,
}

impl TestOwners {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let services = DeferredServices::default();
        let (bus, clock): (_, SharedClock) = (Bus::in_process(), Arc::new(SystemClock));
        let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
        let channel = |service| services.channel_for(Caller::Service(service));
        let mut routes = Routes::builder();
        Identity::start(&url("identity"), bus.clone(), clock.clone(), &tasks)
            .await
            .unwrap()
            .add_to(&mut routes);
        let own = ServiceName::KeyRegistry;
        let peers = Peers {
            identity: channel(own),
            compiler: channel(own),
        };
        let (place, config) = (url("registry"), RegistryConfig::default());
        KeyRegistry::start(&place, config, peers, bus.clone(), clock.clone(), &tasks)
            .await
            .unwrap()
            .add_to(&mut routes);
        let own = ServiceName::PolicyCompiler;
        let followed = FollowedServices {
            identity: channel(own),
            registry: channel(own),
        };
        PolicyCompiler::start(&url("policy"), followed, bus, clock, &tasks)
            .await
            .unwrap()
            .add_to(&mut routes);
        services.set_routes(routes.routes());
        Self {
            services,
            directory,
        }
    }

    pub(crate) fn admin_channel(&self) -> GrpcChannel {
        self.services.channel_for(Caller::Admin {
            name: "test".to_owned(),
        })
    }

    /// Makes a tailnet with a user.
    pub(crate) async fn create_user(&self, tailnet: &str) -> User {
        let request = CreateTailnetRequest {
            name: tailnet.to_owned(),
            settings: None,
        };
        let made = TailnetServiceClient::new(self.admin_channel())
            .create_tailnet(request)
            .await
            .unwrap();
        let request = CreateUserRequest {
            tailnet_id: made.into_inner().tailnet.unwrap().id,
            login_name: "amira@example.com".to_owned(),
            ..Default::default()
        };
        let made = UserServiceClient::new(self.admin_channel())
            .create_user(request)
            .await
            .unwrap();
        made.into_inner().user.unwrap()
    }

    pub(crate) async fn suspend_user(&self, user: &User, suspended: bool) {
        let request = UpdateUserRequest {
            user: Some(User {
                suspended,
                ..user.clone()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["suspended".to_owned()],
            }),
        };
        UserServiceClient::new(self.admin_channel())
            .update_user(request)
            .await
            .unwrap();
    }

    /// Registers a node of a user; its keys are `number` repeated.
    pub(crate) async fn create_node(&self, user: &User, number: u8) -> Node {
        self.create_tagged_node(user, number, &[]).await
    }

    /// Registers a node that asks for tags.
    pub(crate) async fn create_tagged_node(
        &self,
        user: &User,
        number: u8,
        tags: &[String],
    ) -> Node {
        let key = PreAuthKey {
            tailnet_id: user.tailnet_id,
            user_id: user.id,
            ..PreAuthKey::default()
        };
        let made = PreAuthKeyServiceClient::new(self.admin_channel())
            .create_pre_auth_key(CreatePreAuthKeyRequest { key: Some(key) })
            .await
            .unwrap();
        let request = RegisterRequest {
            machine_key: vec![number; 32],
            node_key: vec![number; 32],
            pre_auth_key: made.into_inner().secret,
            requested_tags: tags.to_vec(),
            ..RegisterRequest::default()
        };
        let gateway = self.service_channel(ServiceName::NetmapGateway);
        let answer = RegistrationServiceClient::new(gateway)
            .register(request)
            .await
            .unwrap();
        let Some(Outcome::Registered(registered)) = answer.into_inner().outcome else {
            panic!("the node is not registered");
        };
        registered.node.unwrap()
    }

    pub(crate) fn service_channel(&self, service: ServiceName) -> GrpcChannel {
        self.services.channel_for(Caller::Service(service))
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

/// Returns a channel to nobody.
pub(crate) fn channel_to_nobody() -> GrpcChannel {
    GrpcChannel::admin_socket("/nonexistent/bowline.sock")
}
