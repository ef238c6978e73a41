//! Each RPC, asked by tokens of each role and scope, of its own tailnet and of another one.

use bowline_proto::access::{Area, Role, RpcRule, Scope, rules};
use bowline_service_kit::{CALL_DENIED, status_reason};
use bowline_test_servers::TestDatabase;
use bowline_test_support::{TestServices, TokenChannel};
use bytes::{Buf, BufMut};
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

const ROLES: [Role; 7] = [
    Role::Owner,
    Role::Admin,
    Role::ItAdmin,
    Role::NetworkAdmin,
    Role::BillingAdmin,
    Role::Auditor,
    Role::Member,
];

/// What a call ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallOutcome {
    /// It reached the RPC, whatever that says of an empty request.
    Admitted,
    /// It did not.
    Refused,
}

/// What a token may do hangs on no database.
#[tokio::test(flavor = "multi_thread")]
async fn each_rpc_serves_the_tokens_that_its_rule_names_and_no_others() {
    let services = TestServices::start(TestDatabase::sqlite().unwrap()).await;
    let scopes: Vec<String> = Area::ALL
        .into_iter()
        .flat_map(|area| [Scope::to_change(area), Scope::to_read(area)])
        .map(|scope| scope.to_string())
        .collect();
    let stranger = services.new_tailnet("work").await;
    let (_, foreign) = services.new_api_key(&stranger, &["all"]).await;
    let foreign = services.with_token(&foreign);
    let mut calls = 0;
    for role in ROLES {
        let name = format!("{}@example.com", role.as_str_name().to_lowercase());
        let user = services.new_user(services.tailnet, &name, role).await;
        for scope in &scopes {
            let (_, key) = services.new_api_key(&user, &[scope]).await;
            let channel = services.with_token(&key);
            // Scopes of another area are alike: two stand for all of them.
            let is_for = |needed: Option<Scope>| {
                let needed = needed.map(|needed| needed.to_string());
                let area = scope.trim_end_matches(":read");
                needed.is_none_or(|needed| needed.trim_end_matches(":read") == area)
            };
            for rule in rules() {
                let is_near = rule.tokens.iter().any(|token| is_for(token.scope));
                if !is_near && !["all", "all:read", "dns", "users:read"].contains(&&**scope) {
                    continue;
                }
                let status = call_empty(&channel, rule, services.tailnet).await;
                let expected = match rule.tokens.iter().any(|token| {
                    has_scope(scope, token.scope) && (token.roles.contains(&role) || token.own)
                }) {
                    true => CallOutcome::Admitted,
                    false => CallOutcome::Refused,
                };
                let path = rule.path;
                assert_eq!(
                    outcome(&status),
                    expected,
                    "{path} as {role:?} for {scope}: {status:?}"
                );
                calls += 1;
            }
        }
    }
    // In another tailnet nobody is anybody, whatever he is in his own.
    for rule in rules() {
        let status = call_empty(&foreign, rule, services.tailnet).await;
        assert_eq!(
            outcome(&status),
            CallOutcome::Refused,
            "{}: {status:?}",
            rule.path
        );
        let own = call_empty(&foreign, rule, stranger.tailnet_id).await;
        let is_served = rule
            .tokens
            .iter()
            .any(|token| token.roles.contains(&stranger.role()) || token.own);
        assert_eq!(
            outcome(&own) == CallOutcome::Admitted,
            is_served,
            "{}: {own:?}",
            rule.path
        );
    }
    assert!(calls > 1000, "{calls}");
}

/// The rule of scopes, written once more in another way.
fn has_scope(has: &str, needed: Option<Scope>) -> bool {
    let Some(needed) = needed.map(|needed| needed.to_string()) else {
        return true;
    };
    match needed.strip_suffix(":read") {
        Some(area) => ["all", "all:read", area, &needed].contains(&has),
        None => ["all", &needed].contains(&has),
    }
}

/// Refused by the table, or for the tailnet: not by an RPC that looks at fields.
fn outcome(status: &Result<(), Status>) -> CallOutcome {
    match status {
        Err(status) if status_reason(status).as_deref() == Some(CALL_DENIED) => {
            CallOutcome::Refused
        }
        Err(status) if status.code() == Code::Unauthenticated => CallOutcome::Refused,
        _ => CallOutcome::Admitted,
    }
}

/// Calls an RPC with a request that names a tailnet and nothing else.
async fn call_empty(channel: &TokenChannel, rule: &RpcRule, tailnet: u64) -> Result<(), Status> {
    let named = rule.name_tailnet.map(|name| name(&[], tailnet).unwrap());
    let message = named.and_then(|(_, changed)| changed).unwrap_or_default();
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(rule.path);
    let answer = client.unary(Request::new(message), path, BytesCodec).await;
    answer.map(drop)
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
