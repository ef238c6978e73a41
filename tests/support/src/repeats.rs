//! Calls with idempotency keys, of RPCs that are named by their paths.

use std::{collections::BTreeSet, fmt::Debug};

use bowline_clock::random_bytes;
use bowline_proto::{
    access::rules,
    audit::v1::{VerifyAuditRequest, VerifyAuditResponse},
};
use bowline_service_kit::GrpcChannel;
use http::uri::PathAndQuery;
use prost::Message;
use sqlx::AnyPool;
use tonic::{
    Request, Response, Status, body::Body, client::Grpc, client::GrpcService,
    codegen::Body as HttpBody, codegen::StdError,
};
use tonic_prost::ProstCodec;

use crate::{TestDatabase, TestServices};

/// The owners, as their files, schemas and packages are called.
const OWNERS: [(&str, &str, &str); 3] = [
    ("identity", "identity", "identity"),
    ("registry", "key_registry", "key_registry"),
    ("policy", "policy_compiler", "policy"),
];

/// Returns an idempotency key that no call had yet.
#[must_use]
pub fn new_idempotency_key() -> String {
    format!("{:032x}", u128::from_be_bytes(random_bytes()))
}

/// Makes a call with an idempotency key.
///
/// # Errors
///
/// What the service says.
pub async fn call_with_key<Q, A>(
    channel: impl GrpcService<
        Body,
        ResponseBody: HttpBody<Data: Send, Error: Into<StdError> + Send> + Send + 'static,
    >,
    path: &str,
    request: Q,
    key: &str,
) -> Result<A, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut request = Request::new(request);
    let value = key.parse().unwrap();
    request.metadata_mut().insert("idempotency-key", value);
    let path: PathAndQuery = path.parse().unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|_| Status::unavailable(""))?;
    let answer = client.unary(request, path, ProstCodec::<Q, A>::default());
    answer.await.map(Response::into_inner)
}

/// Changes of an administrator, each asked for twice.
#[expect(
    missing_debug_implementations,
    reason = "a test prints what it asks for"
)]
pub struct RepeatedCalls {
    admin: GrpcChannel,
    tailnet: u64,
    tables: Vec<(AnyPool, String)>,
    asked: BTreeSet<String>,
}

impl RepeatedCalls {
    /// Asks these services.
    pub async fn new(services: &TestServices) -> Self {
        let mut tables = Vec::new();
        for (file, schema, _) in OWNERS {
            let url = services.database.url(file);
            let table = services.database.table(schema, "kept_answers");
            tables.push((AnyPool::connect(&url).await.unwrap(), table));
        }
        Self {
            admin: services.admin(),
            tailnet: services.tailnet,
            tables,
            asked: BTreeSet::new(),
        }
    }

    /// Makes a call of an RPC, `package.Service/Method`, twice with one key: it is done once, audited once, and answered alike.
    pub async fn ask<Q, A>(&mut self, rpc: &str, request: Q) -> A
    where
        Q: Message + Clone + Send + Sync + 'static,
        A: Message + Default + PartialEq + Debug + Send + Sync + 'static,
    {
        let path = format!("/bowline.{rpc}");
        let key = new_idempotency_key();
        let ask = || call_with_key(self.admin.clone(), &path, request.clone(), &key);
        let kept = self.count_kept().await;
        let first: A = ask()
            .await
            .unwrap_or_else(|error| panic!("{rpc}: {error:?}"));
        assert_eq!(self.count_kept().await, kept + 1, "{rpc} keeps no answer");
        let entries = self.count_entries().await;
        let again: A = ask()
            .await
            .unwrap_or_else(|error| panic!("{rpc} again: {error:?}"));
        assert_eq!(again, first, "{rpc} is answered otherwise");
        assert_eq!(self.count_entries().await, entries, "{rpc} is done again");
        self.asked.insert(path);
        first
    }

    /// Fails when an RPC of a package takes keys and was not asked.
    pub fn assert_all_asked(&self, package: &str) {
        let package = format!("/bowline.{package}.");
        let taking = rules().iter().filter(|rule| rule.takes_idempotency_key());
        let paths = taking.map(|rule| rule.path.to_owned());
        let of_package: BTreeSet<_> = paths.filter(|path| path.starts_with(&package)).collect();
        assert!(!of_package.is_empty());
        assert_eq!(self.asked, of_package);
    }

    /// Returns how many entries the tailnet's audit trails have.
    async fn count_entries(&self) -> u64 {
        let mut entries = 0;
        for (_, _, package) in OWNERS {
            let path = format!("/bowline.{package}.v1.AuditService/VerifyAudit");
            let tailnet_id = self.tailnet;
            let request = VerifyAuditRequest { tailnet_id };
            let verified = call_with_key(self.admin.clone(), &path, request, "").await;
            let verified: VerifyAuditResponse = verified.unwrap();
            assert_eq!(verified.broken_sequence, 0);
            entries += verified.entries;
        }
        entries
    }

    /// Returns how many answers the owners keep.
    async fn count_kept(&self) -> i64 {
        let mut kept = 0;
        for (pool, table) in &self.tables {
            let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
            let count: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
            kept += count;
        }
        kept
    }
}

/// Fails when a text stands anywhere in a database.
///
/// # Panics
///
/// When it does.
pub async fn assert_nowhere(services: &TestServices, secret: &str) {
    if let TestDatabase::Sqlite(directory) = &services.database {
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    let calls = RepeatedCalls::new(services).await;
    for (pool, table) in &calls.tables {
        let sql = sqlx::AssertSqlSafe(format!("SELECT id, request_hash, answer FROM {table}"));
        let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> =
            sqlx::query_as(sql).fetch_all(pool).await.unwrap();
        for row in rows {
            for column in [row.0, row.1, row.2] {
                let found = column
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "{table}");
            }
        }
    }
}
