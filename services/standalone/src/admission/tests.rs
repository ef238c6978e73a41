//! The admission against the real registry and identity.

use std::{net::Ipv4Addr, sync::Arc};

use bowline_bus::Bus;
use bowline_clock::{SharedClock, SystemClock};
use bowline_identity::Identity;
use bowline_key_registry::{KeyRegistry, Peers, RegistryConfig};
use bowline_policy_compiler::PolicyCompiler;
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, UpdateUserRequest, User,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, ExpireNodeRequest, PreAuthKey, RegisterRequest,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
};
use bowline_service_kit::{Caller, Later, ServiceName, Shutdown, Tasks};
use prost_types::FieldMask;
use tempfile::TempDir;
use tonic::service::Routes;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The owners in one process.
struct World {
    services: Later,
    _directory: TempDir,
}

impl World {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let services = Later::default();
        let (bus, clock): (_, SharedClock) = (Bus::in_process(), Arc::new(SystemClock));
        let url = |name: &str| format!("sqlite://{}", directory.path().join(name).display());
        let channel = |service| services.channel(Caller::Service(service));
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
        let sources = (channel(own), channel(own));
        PolicyCompiler::start(&url("policy"), sources, bus, clock, &tasks)
            .await
            .unwrap()
            .add_to(&mut routes);
        services.serve(routes.routes());
        Self {
            services,
            _directory: directory,
        }
    }

    fn admin(&self) -> GrpcChannel {
        self.services.channel(Caller::Admin {
            name: "test".to_owned(),
        })
    }

    /// Makes a tailnet with a user.
    async fn user(&self, tailnet: &str) -> User {
        let request = CreateTailnetRequest {
            name: tailnet.to_owned(),
            settings: None,
        };
        let made = TailnetServiceClient::new(self.admin())
            .create_tailnet(request)
            .await
            .unwrap();
        let request = CreateUserRequest {
            tailnet_id: made.into_inner().tailnet.unwrap().id,
            login_name: "amira@example.com".to_owned(),
            ..Default::default()
        };
        let made = UserServiceClient::new(self.admin())
            .create_user(request)
            .await
            .unwrap();
        made.into_inner().user.unwrap()
    }

    async fn suspend(&self, user: &User, suspended: bool) {
        let request = UpdateUserRequest {
            user: Some(User {
                suspended,
                ..user.clone()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["suspended".to_owned()],
            }),
        };
        UserServiceClient::new(self.admin())
            .update_user(request)
            .await
            .unwrap();
    }

    /// Registers a node of a user; its keys are `number` repeated.
    async fn node(&self, user: &User, number: u8) -> Node {
        let key = PreAuthKey {
            tailnet_id: user.tailnet_id,
            user_id: user.id,
            ..PreAuthKey::default()
        };
        let made = PreAuthKeyServiceClient::new(self.admin())
            .create_pre_auth_key(CreatePreAuthKeyRequest { key: Some(key) })
            .await
            .unwrap();
        let request = RegisterRequest {
            machine_key: vec![number; 32],
            node_key: vec![number; 32],
            pre_auth_key: made.into_inner().secret,
            ..RegisterRequest::default()
        };
        let gateway = Caller::Service(ServiceName::NetmapGateway);
        let answer = RegistrationServiceClient::new(self.services.channel(gateway))
            .register(request)
            .await
            .unwrap();
        let Some(Outcome::Registered(registered)) = answer.into_inner().outcome else {
            panic!("the node is not registered");
        };
        registered.node.unwrap()
    }

    fn admission(&self) -> Registered {
        let relay = self.services.channel(Caller::Service(ServiceName::Relay));
        Registered::new(relay.clone(), relay)
    }
}

fn nobody() -> GrpcChannel {
    GrpcChannel::admin_socket("/nonexistent/bowline.sock")
}

async fn verdict(admission: &Registered, number: u8) -> Verdict {
    let node = NodePublic::from_bytes([number; 32]);
    admission.allowed(node, SOURCE).await
}

fn allowed(user: &User) -> Verdict {
    Verdict::Allowed(TailnetId::try_from(user.tailnet_id).unwrap())
}

#[tokio::test]
async fn nodes_are_served_in_their_own_tailnet_until_their_key_ends() {
    let world = World::start().await;
    let (home, work) = (world.user("home").await, world.user("work").await);
    let node = world.node(&home, 1).await;
    world.node(&work, 2).await;
    let admission = world.admission();
    assert_eq!(verdict(&admission, 1).await, allowed(&home));
    assert_eq!(verdict(&admission, 2).await, allowed(&work));
    assert_eq!(verdict(&admission, 3).await, Verdict::Refused);

    let request = ExpireNodeRequest {
        tailnet_id: home.tailnet_id,
        node_id: node.id,
    };
    NodeServiceClient::new(world.admin())
        .expire_node(request)
        .await
        .unwrap();
    assert_eq!(verdict(&admission, 1).await, Verdict::Refused);
}

#[tokio::test]
async fn nodes_of_a_suspended_user_are_refused_until_the_user_is_restored() {
    let world = World::start().await;
    let user = world.user("home").await;
    world.node(&user, 1).await;
    let admission = world.admission();
    world.suspend(&user, true).await;
    assert_eq!(verdict(&admission, 1).await, Verdict::Refused);
    world.suspend(&user, false).await;
    assert_eq!(verdict(&admission, 1).await, allowed(&user));
}

#[tokio::test]
async fn while_identity_is_away_nodes_are_served_but_for_users_seen_suspended() {
    let world = World::start().await;
    let (home, work) = (world.user("home").await, world.user("work").await);
    world.node(&home, 1).await;
    world.node(&work, 2).await;
    world.suspend(&home, true).await;
    let mut admission = world.admission();
    assert_eq!(verdict(&admission, 1).await, Verdict::Refused);

    admission.identity = nobody();
    assert_eq!(verdict(&admission, 1).await, Verdict::Refused);
    assert_eq!(verdict(&admission, 2).await, allowed(&work));
}

#[tokio::test]
async fn while_the_registry_is_away_nothing_is_known() {
    let admission = Registered::new(nobody(), nobody());
    assert_eq!(verdict(&admission, 1).await, Verdict::Unknown);
}
