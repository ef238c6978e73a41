//! The service by itself on one database, called as different callers.

use std::sync::Arc;
use std::time::Duration;

use bowline_bus::Bus;
use bowline_clock::{ManualClock, SharedClock, SystemClock};
use bowline_db::{Database, TimeSource};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_identity::{Identity, IdentityBase, IdentityConfig};
use bowline_proto::identity::v1::login_service_client::LoginServiceClient;
use bowline_proto::identity::v1::tailnet_service_client::TailnetServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    ApproveLoginRequest, CreateTailnetRequest, CreateUserRequest, DenyLoginRequest, Device, Login,
    StartLoginRequest, Tailnet, User,
};
use bowline_sealing::SealingKeys;
use bowline_service_kit::config::Secret;
use bowline_service_kit::{Caller, GrpcChannel, ServiceName, Shutdown, Tasks};
use bowline_test_servers::TestDatabase;

/// The service on one database.
pub(crate) struct TestIdentity {
    identity: Identity,
    database: TestDatabase,
}

/// How a process of the service differs from what the settings make.
pub(crate) struct TestBase {
    /// The clock that counts, on either database; `None` where the time is the real one.
    pub(crate) clock: Option<Arc<ManualClock>>,
    /// How long a provider's answer may take.
    pub(crate) patience: Duration,
    /// The text of the file of sealing keys.
    pub(crate) sealing_keys: String,
}

impl Default for TestBase {
    fn default() -> Self {
        Self {
            clock: None,
            patience: Duration::from_secs(10),
            sealing_keys: SEALING_KEY.to_owned(),
        }
    }
}

impl TestBase {
    async fn start(self, url: &str) -> Identity {
        let clock: SharedClock = match &self.clock {
            Some(clock) => Arc::clone(clock) as SharedClock,
            None => Arc::new(SystemClock),
        };
        let mut options = Identity::database_options(clock);
        if self.clock.is_some() {
            options.time = TimeSource::Clock;
        }
        let limits = AnswerLimits {
            longest_body: 1 << 20,
            deadline: self.patience,
        };
        let also = vec!["127.0.0.0/8".parse().unwrap()];
        let base = IdentityBase {
            database: Database::open(url, options).await.unwrap(),
            bus: Bus::in_process(),
            sealing_keys: Some(SealingKeys::parse(&self.sealing_keys).unwrap()),
            provider_client: HttpClient::new(Destinations::Public { also }, limits),
            webhook_client: HttpClient::new(Destinations::Anywhere, limits),
            trail_services: None,
            public_url: String::new(),
        };
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        Identity::assemble(base, &tasks)
    }
}

impl TestIdentity {
    pub(crate) async fn start(database: TestDatabase) -> Self {
        Self {
            identity: start(&database.url("identity")).await,
            database,
        }
    }

    pub(crate) async fn start_as(database: TestDatabase, base: TestBase) -> Self {
        Self {
            identity: base.start(&database.url("identity")).await,
            database,
        }
    }

    pub(crate) fn admin(&self) -> GrpcChannel {
        channel(&self.identity, admin())
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn registry(&self) -> GrpcChannel {
        channel(&self.identity, Caller::Service(ServiceName::KeyRegistry))
    }

    /// Returns how a statement names a table.
    pub(crate) fn table(&self, name: &str) -> String {
        self.database.table("identity", name)
    }

    /// Returns where another replica, or a statement past the service, finds the database.
    pub(crate) fn url(&self) -> String {
        self.database.url("identity")
    }

    /// Starts another process of the service on the same database.
    pub(crate) async fn start_replica(&self) -> Identity {
        start(&self.url()).await
    }

    pub(crate) async fn start_replica_as(&self, base: TestBase) -> Identity {
        base.start(&self.url()).await
    }

    /// Counts the rows of a table, past the service.
    pub(crate) async fn count_rows(&self, table: &str) -> i64 {
        self.count_rows_of(table, "1 = 1").await
    }

    /// Counts the rows of a table, past the service; `of` is what holds of them.
    pub(crate) async fn count_rows_of(&self, table: &str, of: &str) -> i64 {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let table = self.table(table);
        let query = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table} WHERE {of}");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query));
        let count = query.fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }

    /// Counts the sealed secrets of a column that begin with something else than `mark`.
    pub(crate) async fn count_cells(&self, table: &str, column: &str, mark: &[u8]) -> i64 {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let table = self.table(table);
        let query = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM {table}
             WHERE {column} IS NOT NULL AND substr({column}, 1, {}) <> $1",
            mark.len()
        );
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query));
        let count = query.bind(mark.to_vec()).fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }

    /// Returns what the audit trails of all tailnets say of an action, oldest first.
    pub(crate) async fn audited_details(&self, action: &str) -> Vec<serde_json::Value> {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let query = format!(
            "SELECT detail FROM {} WHERE action = $1 ORDER BY sequence",
            self.table("audit")
        );
        let details: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(action.to_owned())
            .fetch_all(&pool)
            .await
            .unwrap();
        let read = |detail: &String| serde_json::from_str(detail).unwrap();
        details.iter().map(read).collect()
    }

    pub(crate) async fn new_tailnet(&self, name: &str) -> Tailnet {
        let request = CreateTailnetRequest {
            name: name.to_owned(),
            settings: None,
        };
        let mut client = TailnetServiceClient::new(self.admin());
        client
            .create_tailnet(request)
            .await
            .unwrap()
            .into_inner()
            .tailnet
            .unwrap()
    }

    pub(crate) async fn new_user(
        &self,
        tailnet_id: u64,
        login_name: &str,
    ) -> Result<User, tonic::Status> {
        let login_name = login_name.to_owned();
        let request = CreateUserRequest {
            tailnet_id,
            login_name,
            ..Default::default()
        };
        let answer = UserServiceClient::new(self.admin())
            .create_user(request)
            .await?;
        Ok(answer.into_inner().user.unwrap())
    }

    pub(crate) async fn approve(&self, login: &Login, user: &User) -> Result<Login, tonic::Status> {
        let request = ApproveLoginRequest {
            login_id: login.id.clone(),
            tailnet_id: user.tailnet_id,
            user_id: user.id,
        };
        let answer = LoginServiceClient::new(self.admin())
            .approve_login(request)
            .await?;
        Ok(answer.into_inner().login.unwrap())
    }

    pub(crate) async fn deny(
        &self,
        login: &Login,
        tailnet: &Tailnet,
    ) -> Result<Login, tonic::Status> {
        let request = DenyLoginRequest {
            login_id: login.id.clone(),
            reason: "not ours".to_owned(),
            tailnet_id: tailnet.id,
        };
        let answer = LoginServiceClient::new(self.admin())
            .deny_login(request)
            .await?;
        Ok(answer.into_inner().login.unwrap())
    }

    /// Returns what was decided about a login, as the audit trails of all tailnets tell it.
    pub(crate) async fn audited_actions(&self, login: &Login) -> Vec<String> {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let query = format!(
            "SELECT action FROM {} WHERE object = $1",
            self.table("audit")
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(login.id.clone())
            .fetch_all(&pool)
            .await
            .unwrap()
    }

    pub(crate) async fn start_login(&self, machine: u8, node: u8) -> Result<Login, tonic::Status> {
        let request = StartLoginRequest {
            machine_key: vec![machine; 32],
            node_key: vec![node; 32],
            device: Some(Device::default()),
        };
        let answer = LoginServiceClient::new(self.registry())
            .start_login(request)
            .await?;
        Ok(answer.into_inner().login.unwrap())
    }

    pub(crate) async fn start_login_from(
        &self,
        key: u32,
        source: &str,
    ) -> Result<Login, tonic::Status> {
        let mut machine_key = vec![7; 32];
        machine_key[..4].copy_from_slice(&key.to_be_bytes());
        let device = Device {
            hostname: "laptop".to_owned(),
            os: "linux".to_owned(),
            client_version: "1.102.5".to_owned(),
            source_address: source.to_owned(),
            ..Device::default()
        };
        let request = StartLoginRequest {
            machine_key,
            node_key: vec![1; 32],
            device: Some(device),
        };
        let mut client = LoginServiceClient::new(self.registry());
        let answer = client.start_login(request).await?;
        Ok(answer.into_inner().login.unwrap())
    }
}

pub(crate) fn admin() -> Caller {
    Caller::Admin {
        name: "test".to_owned(),
    }
}

pub(crate) fn channel(identity: &Identity, caller: Caller) -> GrpcChannel {
    let mut routes = tonic::service::Routes::builder();
    identity.add_to(&mut routes);
    GrpcChannel::in_process(routes.routes(), caller)
}

/// The key that seals, the same for all replicas.
pub(crate) const SEALING_KEY: &str =
    "bowline-sealing-key-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

async fn start(url: &str) -> Identity {
    let config = IdentityConfig {
        sealing_key: Some(Secret::new(SEALING_KEY.to_owned())),
        provider_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..IdentityConfig::default()
    };
    let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
    Identity::start(
        url,
        &config,
        None,
        Bus::in_process(),
        Arc::new(SystemClock),
        &tasks,
    )
    .await
    .unwrap()
}
