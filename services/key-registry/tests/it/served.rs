//! The services the registry needs, and what is asked of it.

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::{SharedClock, SystemClock};
use bowline_identity::Identity;
use bowline_key_registry::{KeyRegistry, Peers, RegistryConfig};
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, ListTailnetsRequest, ListUsersRequest,
        UpdateUserRequest, User, tailnet_service_client::TailnetServiceClient,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, GetNodeRequest, ListNodesRequest, Node, NodeReport,
        NodeReportResult, NodeWithState, PreAuthKey, Presence, PresenceReport, RefusalReason,
        RegisterRequest, ReportNodesRequest, key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::{Caller, DeferredServices, GrpcChannel, ServiceName, Shutdown, Tasks};
use bowline_test_servers::PostgresServer;
use prost_types::FieldMask;
use tonic::{Status, service::Routes};

/// Where the databases of the three owners live.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres {
        url: String,
        _server: Arc<PostgresServer>,
    },
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Option<Self> {
        let server = PostgresServer::shared().unwrap()?;
        Some(Self::Postgres {
            url: server.new_database().unwrap(),
            _server: server,
        })
    }

    pub(crate) fn url(&self, name: &str) -> String {
        match self {
            Self::Sqlite(directory) => {
                format!("sqlite://{}", directory.path().join(name).display())
            }
            Self::Postgres { url, .. } => url.clone(),
        }
    }
}

/// The three owners in one process, with a tailnet and a user.
pub(crate) struct Served {
    services: DeferredServices,
    pub(crate) tailnet: u64,
    pub(crate) user: u64,
    pub(crate) place: Place,
}

impl Served {
    pub(crate) async fn on_sqlite() -> Self {
        Self::start(Place::sqlite()).await
    }

    pub(crate) async fn on_postgres() -> Option<Self> {
        Some(Self::start(Place::postgres()?).await)
    }

    /// Opens the databases, made anew or by a process that has ended.
    pub(crate) async fn start(place: Place) -> Self {
        Self::start_by(place, Arc::new(SystemClock)).await
    }

    /// The same by a clock, which SQLite goes by.
    pub(crate) async fn start_by(place: Place, clock: SharedClock) -> Self {
        let url = |name: &str| place.url(name);
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let bus = Bus::in_process();
        let services = DeferredServices::default();
        let channel = |service| services.channel_for(Caller::Service(service));
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
        let followed = FollowedServices {
            identity: channel(own),
            registry: channel(own),
        };
        let url_of_policies = url("policy");
        let compiler = PolicyCompiler::start(&url_of_policies, followed, bus, clock, &tasks);
        compiler.await.unwrap().add_to(&mut routes);
        services.set_routes(routes.routes());

        let admin = services.channel_for(Caller::Admin {
            name: "test".to_owned(),
        });
        let mut tailnets = TailnetServiceClient::new(admin.clone());
        let mut users = UserServiceClient::new(admin);
        let request = CreateTailnetRequest {
            name: "home".to_owned(),
            settings: None,
        };
        let (tailnet, user) = match tailnets.create_tailnet(request).await {
            Ok(made) => {
                let tailnet_id = made.into_inner().tailnet.unwrap().id;
                let request = CreateUserRequest {
                    tailnet_id,
                    login_name: "amira@example.com".to_owned(),
                    ..Default::default()
                };
                let made = users.create_user(request).await.unwrap();
                (tailnet_id, made.into_inner().user.unwrap().id)
            }
            // It was there before the restart.
            Err(_) => {
                let found = tailnets
                    .list_tailnets(ListTailnetsRequest {})
                    .await
                    .unwrap();
                let tailnet_id = found.into_inner().tailnets[0].id;
                let found = users.list_users(ListUsersRequest { tailnet_id }).await;
                (tailnet_id, found.unwrap().into_inner().users[0].id)
            }
        };
        Self {
            services,
            tailnet,
            user,
            place,
        }
    }

    pub(crate) fn admin(&self) -> GrpcChannel {
        self.services.channel_for(Caller::Admin {
            name: "test".to_owned(),
        })
    }

    pub(crate) fn gateway(&self) -> GrpcChannel {
        self.services
            .channel_for(Caller::Service(ServiceName::NetmapGateway))
    }

    pub(crate) async fn key(&self, reusable: bool) -> String {
        let key = PreAuthKey {
            user_id: self.user,
            reusable,
            ..PreAuthKey::default()
        };
        self.made_key(key).await
    }

    /// Makes a key without user for nodes with a tag.
    pub(crate) async fn tag_key(&self, tag: &str) -> String {
        let key = PreAuthKey {
            tags: vec![tag.to_owned()],
            reusable: true,
            ..PreAuthKey::default()
        };
        self.made_key(key).await
    }

    pub(crate) async fn made_key(&self, key: PreAuthKey) -> String {
        let key = PreAuthKey {
            tailnet_id: self.tailnet,
            ..key
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

    pub(crate) async fn set_policy(&self, text: &str) {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet,
            text: text.to_owned(),
            ..SetPolicyRequest::default()
        };
        let mut policies = PolicyServiceClient::new(self.admin());
        let stored = policies.set_policy(request).await.unwrap();
        let problems = stored.into_inner().problems;
        assert!(problems.is_empty(), "{problems:?}");
    }

    pub(crate) async fn suspend(&self, suspended: bool) {
        let user = User {
            id: self.user,
            tailnet_id: self.tailnet,
            suspended,
            ..User::default()
        };
        let update_mask = Some(FieldMask {
            paths: vec!["suspended".to_owned()],
        });
        let request = UpdateUserRequest {
            user: Some(user),
            update_mask,
        };
        let mut users = UserServiceClient::new(self.admin());
        users.update_user(request).await.unwrap();
    }

    pub(crate) async fn listed(&self, node_id: u64) -> NodeWithState {
        let request = GetNodeRequest {
            tailnet_id: self.tailnet,
            node_id,
        };
        let mut nodes = NodeServiceClient::new(self.admin());
        let found = nodes.get_node(request).await.unwrap();
        found.into_inner().node.unwrap()
    }

    pub(crate) async fn node(&self, node_id: u64) -> Node {
        self.listed(node_id).await.node.unwrap()
    }

    pub(crate) async fn nodes(&self) -> Vec<Node> {
        let request = ListNodesRequest {
            tailnet_id: self.tailnet,
        };
        let mut nodes = NodeServiceClient::new(self.admin());
        let found = nodes.list_nodes(request).await.unwrap();
        let nodes = found.into_inner().nodes;
        nodes.into_iter().filter_map(|listed| listed.node).collect()
    }

    /// Waits until a node is as it is to be.
    pub(crate) async fn until(&self, node_id: u64, is: impl Fn(&Node) -> bool) -> Node {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let node = self.node(node_id).await;
            if is(&node) {
                return node;
            }
            assert!(tokio::time::Instant::now() < deadline, "{node:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reports for a node, as a gateway does.
    pub(crate) async fn report(&self, node: &Node, report: NodeReport) -> NodeReportResult {
        let report = NodeReport {
            tailnet_id: self.tailnet,
            node_id: node.id,
            node_key: node.node_key.clone(),
            ..report
        };
        let request = ReportNodesRequest {
            reports: vec![report],
            gateway: "g1".to_owned(),
        };
        let mut registry = KeyRegistryServiceClient::new(self.gateway());
        let answer = registry.report_nodes(request).await.unwrap();
        answer.into_inner().results.remove(0)
    }

    /// Begins or ends the session of a node.
    pub(crate) async fn session(&self, node: &Node, live: bool) {
        let presence = PresenceReport {
            presence: Some(Presence {
                epoch: 0,
                gateway: "g1".to_owned(),
            }),
            live,
            ..PresenceReport::default()
        };
        let report = NodeReport {
            presence: Some(presence),
            ..NodeReport::default()
        };
        assert!(self.report(node, report).await.accepted);
    }

    pub(crate) async fn register(&self, request: RegisterRequest) -> Outcome {
        self.try_register(request).await.unwrap()
    }

    pub(crate) async fn try_register(&self, request: RegisterRequest) -> Result<Outcome, Status> {
        let mut client = RegistrationServiceClient::new(self.gateway());
        let answer = client.register(request).await?;
        Ok(answer.into_inner().outcome.unwrap())
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
