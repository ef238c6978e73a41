//! What is asked of the compiler.

use std::{ops::Deref, sync::Arc, time::Duration};

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SystemClock;
use bowline_db::{AuditEntry, AuditVerdict, ChangeLog, Database, DatabaseError, DatabaseOptions};
use bowline_proto::{
    key_registry::v1::{Node, RegisterRequest},
    policy::v1::{
        CompiledUpdate, GetPolicyRequest, PolicyVersion, SetPolicyRequest, SetPolicyResponse,
        WatchCompiledRequest, policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use bowline_service_kit::{GrpcChannel, ServiceName};
use bowline_test_support::{TestDatabase, TestServices};
use tonic::{Status, Streaming};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// The compiler beside the services it follows.
pub struct TestCompiler(TestServices);

impl Deref for TestCompiler {
    type Target = TestServices;

    fn deref(&self) -> &TestServices {
        &self.0
    }
}

impl TestCompiler {
    pub async fn start(database: TestDatabase) -> Self {
        Self(TestServices::start(database).await)
    }

    pub fn registry(&self) -> GrpcChannel {
        self.service(ServiceName::KeyRegistry)
    }

    /// Registers a node of the user that offers a route.
    pub async fn register_router(&self, number: u8, route: &str) -> Node {
        let request = RegisterRequest {
            machine_key: vec![number; 32],
            node_key: vec![100 + number; 32],
            hostname: format!("n{number}"),
            pre_auth_key: self.new_user_key(false).await,
            advertised_routes: vec![route.to_owned()],
            ..RegisterRequest::default()
        };
        self.register_node(request).await
    }

    pub async fn try_set_policy(
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
    pub async fn set_policy_strictly(&self, text: &str) -> SetPolicyResponse {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet,
            text: text.to_owned(),
            strict: true,
            ..SetPolicyRequest::default()
        };
        let answer = self.policies().set_policy(request).await;
        answer.unwrap().into_inner()
    }

    /// Writes a first version as an older release has left it.
    pub async fn store_first_version(&self, text: &str) {
        let database = self.open_database().await;
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

    async fn open_database(&self) -> Database {
        let migrations = bowline_db::migrations!["0001_policies"];
        let options = DatabaseOptions::new("policy_compiler", migrations, Arc::new(SystemClock));
        Database::open(&self.database.url("policy"), options)
            .await
            .unwrap()
    }

    pub async fn policy_in_force(&self) -> PolicyVersion {
        let request = GetPolicyRequest {
            tailnet_id: self.tailnet,
            version: 0,
        };
        let answer = self.policies().get_policy(request).await.unwrap();
        answer.into_inner().version.unwrap()
    }

    /// Reads the compiler's own audit trail, as an export does.
    pub async fn audit_entries(&self) -> Vec<AuditEntry> {
        let log = ChangeLog::new(
            self.open_database().await,
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

    pub async fn watch_compiled(&self) -> Streaming<CompiledUpdate> {
        let request = WatchCompiledRequest {
            tailnet_id: self.tailnet,
        };
        let mut client = PolicyCompilerServiceClient::new(self.gateway());
        client.watch_compiled(request).await.unwrap().into_inner()
    }
}

/// Returns the messages of one update.
pub async fn next_update(stream: &mut Streaming<CompiledUpdate>) -> Vec<CompiledUpdate> {
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
pub async fn wait_for_nodes(compiler: &TestCompiler, nodes: usize) {
    let mut stream = compiler.watch_compiled().await;
    let mut known = std::collections::BTreeSet::new();
    while known.len() < nodes {
        for part in next_update(&mut stream).await {
            known.extend(part.memberships.iter().map(|member| member.node_id));
        }
    }
}
