//! What ends a node.

use std::{sync::Arc, time::Duration};

use bowline_clock::{Clock as _, ManualClock, SystemClock};
use bowline_proto::{
    audit::v1::{AuditEntry, ListAuditRequest},
    identity::v1::{
        CreateTailnetRequest, DeleteTailnetRequest, tailnet_service_client::TailnetServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, DeleteNodeRequest, ExpireNodeRequest, ExpireNodeResponse,
        FormerHolder, ListNodesRequest, Node, PreAuthKey, RegisterRequest, ResolveNodeRequest,
        audit_service_client::AuditServiceClient,
        key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
    time::to_timestamp,
};
use bowline_test_support::{TestDatabase, TestServices, on_both};
use chrono::TimeDelta;
use prost_types::Timestamp;

use crate::request::{request, with_key};

on_both!(TestServices::start =>
    logout_ends_the_key_and_deletes_an_ephemeral_node,
    nodes_of_a_deleted_tailnet_go_with_it,
    key_that_an_administrator_expires_ends_at_once_and_only_once,
);

async fn expire(services: &TestServices, node: &Node) -> ExpireNodeResponse {
    let request = ExpireNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.expire_node(request).await.unwrap().into_inner()
}

/// Returns what the audit trail says of expired keys.
async fn list_expiries(services: &TestServices) -> Vec<AuditEntry> {
    let request = ListAuditRequest {
        tailnet_id: services.tailnet,
        ..ListAuditRequest::default()
    };
    let mut audit = AuditServiceClient::new(services.admin());
    let mut entries = audit
        .list_audit(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    entries.retain(|entry| entry.action == "node.expire");
    entries
}

async fn key_that_an_administrator_expires_ends_at_once_and_only_once(services: TestServices) {
    let key = services.new_user_key(true).await;
    let good = services.register_node(with_key(1, 101, &key)).await;
    let answer = expire(&services, &good).await;
    let (ended, revocation) = (answer.node.unwrap(), answer.revocation.unwrap());
    assert!(ended.expired && revocation.revision > 0);
    let seconds = |end: &Option<Timestamp>| end.map(|end| (end.seconds, end.nanos)).unwrap();
    assert!(seconds(&ended.key_expiry) < seconds(&good.key_expiry));
    assert!(seconds(&ended.key_expiry) >= seconds(&good.created_at));
    assert_eq!(services.node(good.id).await, ended);
    let Outcome::KeyExpired(told) = services.register(request(1, 101)).await else {
        panic!("the key has ended")
    };
    assert_eq!(told.node.unwrap(), ended);
    let expiries = list_expiries(&services).await;
    let [entry] = &expiries[..] else {
        panic!("{expiries:?}")
    };
    assert_eq!(entry.object, good.id.to_string());
    assert!(entry.detail.contains("administrator"), "{}", entry.detail);

    // Once more changes nothing: neither the time of the end nor the trail.
    let again = expire(&services, &good).await;
    assert_eq!(again.node.unwrap(), ended);
    assert_eq!(list_expiries(&services).await, expiries);
}

#[tokio::test]
async fn end_that_has_passed_is_kept_when_an_administrator_expires_the_key() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let services =
        TestServices::start_with_clock(TestDatabase::sqlite().unwrap(), Arc::clone(&clock) as _)
            .await;
    let key = services.new_user_key(true).await;
    let end = Some(to_timestamp(clock.now() + TimeDelta::hours(1)));
    let ending = RegisterRequest {
        expiry: end,
        ..with_key(1, 101, &key)
    };
    let node = services.register_node(ending).await;
    assert_eq!(node.key_expiry, end);
    clock.advance(TimeDelta::hours(2));
    // Whether the sweep has found the end by now or not.
    let ended = expire(&services, &node).await.node.unwrap();
    assert_eq!((ended.expired, ended.key_expiry), (true, end));
}

async fn logout_ends_the_key_and_deletes_an_ephemeral_node(services: TestServices) {
    let key = services.new_user_key(true).await;
    services.register_node(with_key(1, 101, &key)).await;
    let past = Some(Timestamp {
        seconds: 123,
        nanos: 0,
    });
    let logout = RegisterRequest {
        expiry: past,
        ..with_key(1, 101, &key)
    };
    assert!(matches!(
        services.register(logout).await,
        Outcome::LoggedOut(_)
    ));
    assert!(matches!(
        services.register(with_key(1, 101, &key)).await,
        Outcome::KeyExpired(_)
    ));

    let passing = RegisterRequest {
        ephemeral: true,
        ..with_key(1, 102, &key)
    };
    let node = services.register_node(passing).await;
    let logout = RegisterRequest {
        expiry: past,
        ..request(1, 102)
    };
    services.register(logout).await;
    let delete = DeleteNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let gone = NodeServiceClient::new(services.admin())
        .delete_node(delete)
        .await
        .unwrap_err();
    assert_eq!(gone.code(), tonic::Code::NotFound);

    // Whose key it was is known for ever: its client is told to log in.
    let mut registry = KeyRegistryServiceClient::new(services.gateway());
    let mut resolve = async |node_key| {
        let request = ResolveNodeRequest {
            node_key,
            ..ResolveNodeRequest::default()
        };
        registry.resolve_node(request).await
    };
    let answer = resolve(vec![102; 32]).await.unwrap().into_inner();
    let former = FormerHolder {
        machine_key: request(1, 102).machine_key,
        node_id: node.id,
    };
    assert_eq!((answer.node, answer.former), (None, Some(former)));
    let unknown = resolve(vec![103; 32]).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

async fn nodes_of_a_deleted_tailnet_go_with_it(services: TestServices) {
    let mut tailnets = TailnetServiceClient::new(services.admin());
    let request = CreateTailnetRequest {
        name: "passing".to_owned(),
        settings: None,
    };
    let made = tailnets.create_tailnet(request).await.unwrap();
    let tailnet_id = made.into_inner().tailnet.unwrap().id;
    let text = r#"{"tagOwners": {"tag:web": []}}"#;
    let request = SetPolicyRequest {
        tailnet_id,
        text: text.to_owned(),
        ..SetPolicyRequest::default()
    };
    let mut policies = PolicyServiceClient::new(services.admin());
    policies.set_policy(request).await.unwrap();
    let key = PreAuthKey {
        tailnet_id,
        tags: vec!["tag:web".to_owned()],
        ..PreAuthKey::default()
    };
    let request = CreatePreAuthKeyRequest {
        key: Some(key),
        ..CreatePreAuthKeyRequest::default()
    };
    let mut keys = PreAuthKeyServiceClient::new(services.admin());
    let secret = keys
        .create_pre_auth_key(request)
        .await
        .unwrap()
        .into_inner()
        .secret;
    services.register_node(with_key(1, 101, &secret)).await;
    let request = DeleteTailnetRequest { tailnet_id };
    tailnets.delete_tailnet(request).await.unwrap();
    let mut nodes = NodeServiceClient::new(services.admin());
    let gone = async {
        loop {
            let request = ListNodesRequest {
                tailnet_id,
                ..ListNodesRequest::default()
            };
            if nodes
                .list_nodes(request)
                .await
                .unwrap()
                .into_inner()
                .nodes
                .is_empty()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .unwrap();
    assert!(matches!(
        services.register(self::request(1, 101)).await,
        Outcome::KeyExpired(_)
    ));
}
