//! The services in one process.

use std::{sync::Arc, time::Duration};

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SystemClock;
use bowline_db::{AuditEntry, AuditVerdict, ChangeLog, Database, DatabaseError, DatabaseOptions};
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
    policy::v1::{
        CompiledUpdate, GetPolicyRequest, PolicyVersion, SetPolicyRequest, SetPolicyResponse,
        WatchCompiledRequest, policy_compiler_service_client::PolicyCompilerServiceClient,
        policy_service_client::PolicyServiceClient,
    },
};
use bowline_service_kit::{Caller, DeferredServices, GrpcChannel, ServiceName, Shutdown, Tasks};
use bowline_test_servers::PostgresServer;
use prost_types::FieldMask;
use tonic::{Status, Streaming, service::Routes};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// The three owners in one process, with a tailnet and a user.
pub struct Served {
    services: DeferredServices,
    pub tailnet: u64,
    user: u64,
    policies: String,
    /// What the databases live in.
    _held: Box<dyn std::any::Any>,
}

impl Served {
    pub async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let url = move |name: &str| format!("sqlite://{}", path.join(name).display());
        Self::start(url, Box::new(directory)).await
    }

    pub async fn on_postgres() -> Option<Self> {
        let server = PostgresServer::shared().unwrap()?;
        let url = server.new_database().unwrap();
        Some(Self::start(move |_| url.clone(), Box::new(server)).await)
    }

    async fn start(url: impl Fn(&str) -> String, held: Box<dyn std::any::Any>) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, clock) = (Bus::in_process(), Arc::new(SystemClock));
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
            policies: url_of_policies,
            _held: held,
        }
    }

    pub fn admin(&self) -> GrpcChannel {
        self.services.channel_for(Caller::Admin {
            name: "test".to_owned(),
        })
    }

    pub fn gateway(&self) -> GrpcChannel {
        self.services
            .channel_for(Caller::Service(ServiceName::NetmapGateway))
    }

    pub fn registry(&self) -> GrpcChannel {
        self.services
            .channel_for(Caller::Service(ServiceName::KeyRegistry))
    }

    pub fn policies(&self) -> PolicyServiceClient<GrpcChannel> {
        PolicyServiceClient::new(self.admin()).max_encoding_message_size(64 << 20)
    }

    /// Registers a node of the user that offers a route.
    pub async fn node(&self, number: u8, route: &str) -> Node {
        let key = PreAuthKey {
            tailnet_id: self.tailnet,
            user_id: self.user,
            ..PreAuthKey::default()
        };
        let request = CreatePreAuthKeyRequest { key: Some(key) };
        let mut keys = PreAuthKeyServiceClient::new(self.admin());
        let made = keys
            .create_pre_auth_key(request)
            .await
            .unwrap()
            .into_inner();
        let request = RegisterRequest {
            machine_key: vec![number; 32],
            node_key: vec![100 + number; 32],
            hostname: format!("n{number}"),
            pre_auth_key: made.secret,
            advertised_routes: vec![route.to_owned()],
            ..RegisterRequest::default()
        };
        let mut client = RegistrationServiceClient::new(self.gateway());
        match client
            .register(request)
            .await
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
        {
            Outcome::Registered(registered) => registered.node.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn set(
        &self,
        text: &str,
        expected_version: Option<u64>,
    ) -> Result<SetPolicyResponse, Status> {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet,
            text: text.to_owned(),
            expected_version,
            ..SetPolicyRequest::default()
        };
        Ok(self.policies().set_policy(request).await?.into_inner())
    }

    /// Sets a document that there may be no warnings of.
    pub async fn set_strictly(&self, text: &str) -> SetPolicyResponse {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet,
            text: text.to_owned(),
            strict: true,
            ..SetPolicyRequest::default()
        };
        let answer = self.policies().set_policy(request).await;
        answer.unwrap().into_inner()
    }

    /// Sets the groups of the user.
    pub async fn group(&self, groups: &[&str]) {
        let user = User {
            id: self.user,
            tailnet_id: self.tailnet,
            groups: groups.iter().map(ToString::to_string).collect(),
            ..User::default()
        };
        let request = UpdateUserRequest {
            user: Some(user),
            update_mask: Some(FieldMask {
                paths: vec!["groups".to_owned()],
            }),
        };
        let mut users = UserServiceClient::new(self.admin());
        users.update_user(request).await.unwrap();
    }

    /// Writes a first version as an older release has left it.
    pub async fn store(&self, text: &str) {
        let database = self.database().await;
        let (tailnet, text) = (self.tailnet.cast_signed(), text.to_owned());
        let written = database.write(move |write| {
            Box::pin(async move {
                let row = sqlx::query(
                    "INSERT INTO policies (tailnet_id, version, author, created_at, text) VALUES ($1, 1, 'older', 0, $2)",
                );
                let row = row.bind(tailnet).bind(text);
                row.execute(write.connection()).await?;
                Ok::<_, DatabaseError>(())
            })
        });
        written.await.unwrap();
    }

    async fn database(&self) -> Database {
        let migrations = bowline_db::migrations!["0001_policies"];
        let options = DatabaseOptions::new("policy_compiler", migrations, Arc::new(SystemClock));
        Database::open(&self.policies, options).await.unwrap()
    }

    pub async fn in_force(&self) -> PolicyVersion {
        let request = GetPolicyRequest {
            tailnet_id: self.tailnet,
            version: 0,
        };
        let answer = self.policies().get_policy(request).await.unwrap();
        answer.into_inner().version.unwrap()
    }

    /// Reads the compiler's own audit trail, as an export does.
    pub async fn audit(&self) -> Vec<AuditEntry> {
        let log = ChangeLog::new(
            self.database().await,
            Bus::in_process(),
            LogOwner::PolicyCompiler,
        );
        let tailnet = self.tailnet.try_into().unwrap();
        let entries = log.audit_entries(tailnet, 0, 100).await.unwrap();
        let verdict = log.verify_audit(tailnet).await.unwrap();
        let whole = u64::try_from(entries.len()).unwrap();
        assert_eq!(verdict, AuditVerdict::Whole { entries: whole });
        entries
    }

    pub async fn watch(&self) -> Streaming<CompiledUpdate> {
        let request = WatchCompiledRequest {
            tailnet_id: self.tailnet,
        };
        let mut client = PolicyCompilerServiceClient::new(self.gateway());
        client.watch_compiled(request).await.unwrap().into_inner()
    }
}

/// Returns the messages of one update.
pub async fn update(stream: &mut Streaming<CompiledUpdate>) -> Vec<CompiledUpdate> {
    let mut parts = Vec::new();
    loop {
        let part = tokio::time::timeout(DEADLINE, stream.message()).await;
        let part = part.expect("an update in time").unwrap().unwrap();
        let is_last = part.last;
        parts.push(part);
        if is_last {
            return parts;
        }
    }
}

/// Waits until the compiler has heard of as many nodes.
pub async fn heard_of(served: &Served, nodes: usize) {
    let mut stream = served.watch().await;
    let mut known = std::collections::BTreeSet::new();
    while known.len() < nodes {
        for part in update(&mut stream).await {
            known.extend(part.memberships.iter().map(|member| member.node_id));
        }
    }
}
