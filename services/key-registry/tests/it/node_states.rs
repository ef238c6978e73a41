//! What administrators say of a node beside its key: disabled, denied, until when.

use bowline_proto::{
    audit::v1::{AuditEntry, ListAuditRequest},
    identity::v1::Role,
    key_registry::v1::{
        ApproveNodeRequest, ClientReport, DeleteNodeRequest, DenyNodeRequest, DenyNodeResponse,
        DisableNodeRequest, DisableNodeResponse, EnableNodeRequest, HostReport, Node, NodeReport,
        PreAuthKey, RefusalReason, RegisterRequest, audit_service_client::AuditServiceClient,
        node_service_client::NodeServiceClient, register_response::Outcome,
    },
};
use bowline_service_kit::GrpcChannel;
use bowline_test_support::{TestDatabase, TestServices, on_both};
use prost_types::Timestamp;
use sqlx::{AnyPool, AssertSqlSafe};
use tonic::{Code, Status};

use crate::request::{refusal, request, with_key};

on_both!(TestServices::start =>
    disabled_node_stays_out_whatever_its_machine_registers_and_comes_back_as_it_was,
    disabled_node_changes_nothing_of_itself_until_it_is_enabled,
    disabling_approval_and_suspension_stand_beside_each_other,
    disabled_router_gives_its_routes_to_another,
    logout_of_a_disabled_ephemeral_node_leaves_it_disabled,
    denied_machine_is_refused_until_it_is_approved_or_deleted,
    approved_machine_is_not_denied,
    people_delete_no_device_of_theirs_that_an_administrator_keeps_out,
);

fn nodes(services: &TestServices) -> NodeServiceClient<GrpcChannel> {
    NodeServiceClient::new(services.admin())
}

async fn try_disabling(
    services: &TestServices,
    node: &Node,
) -> Result<DisableNodeResponse, Status> {
    let request = DisableNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let answer = nodes(services).disable_node(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn disable(services: &TestServices, node: &Node) -> Node {
    let answer = try_disabling(services, node).await.unwrap();
    assert!(answer.revocation.unwrap().revision > 0);
    answer.node.unwrap()
}

async fn enable(services: &TestServices, node: &Node) -> Node {
    let request = EnableNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let answer = nodes(services).enable_node(request).await.unwrap();
    answer.into_inner().node.unwrap()
}

async fn try_denying(services: &TestServices, node: &Node) -> Result<DenyNodeResponse, Status> {
    let request = DenyNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let answer = nodes(services).deny_node(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn approve(services: &TestServices, node: &Node) -> Node {
    let request = ApproveNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let answer = nodes(services).approve_node(request).await.unwrap();
    answer.into_inner().node.unwrap()
}

async fn delete(services: &TestServices, node: &Node) {
    let request = DeleteNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    nodes(services).delete_node(request).await.unwrap();
}

async fn list_audit(services: &TestServices, action: &str) -> Vec<AuditEntry> {
    let request = ListAuditRequest {
        tailnet_id: services.tailnet,
        ..ListAuditRequest::default()
    };
    let mut audit = AuditServiceClient::new(services.admin());
    let listed = audit.list_audit(request).await.unwrap().into_inner();
    let mut entries = listed.entries;
    entries.retain(|entry| entry.action == action);
    entries
}

async fn disabled_node_stays_out_whatever_its_machine_registers_and_comes_back_as_it_was(
    services: TestServices,
) {
    services
        .set_policy(r#"{"tagOwners": {"tag:web": []}}"#)
        .await;
    let key = services.new_user_key(true).await;
    let good = services.register_node(with_key(1, 101, &key)).await;
    let disabled = disable(&services, &good).await;
    let expected = Node {
        disabled: true,
        ..good.clone()
    };
    assert_eq!(disabled, expected, "nothing else has changed");
    let entries = list_audit(&services, "node.disable").await;
    let [entry] = &entries[..] else {
        panic!("{entries:?}")
    };
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!(
        (&detail["before"]["disabled"], &detail["after"]["disabled"]),
        (&false.into(), &true.into())
    );
    // Once more changes nothing.
    assert_eq!(disable(&services, &good).await, expected);
    assert_eq!(list_audit(&services, "node.disable").await, entries);

    // Its key is good, and is no way in. Nor is another one.
    let again = services.register_node(request(1, 101)).await;
    assert_eq!(again, expected);
    let rotated = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &key)
    };
    let rotated = services.register_node(rotated).await;
    assert_eq!((rotated.id, rotated.disabled), (good.id, true));
    // A login that names no old key is a node of its own, and as disabled.
    let other = services.register_node(with_key(1, 103, &key)).await;
    assert_ne!(other.id, good.id);
    assert!(other.disabled);
    let by_tag = services.new_tag_key("tag:web").await;
    let by_tag = services.register_node(with_key(1, 104, &by_tag)).await;
    assert!(by_tag.disabled, "nor does another owner free the machine");
    // Other machines are none of it.
    assert!(
        !services
            .register_node(with_key(2, 105, &key))
            .await
            .disabled
    );

    let enabled = enable(&services, &good).await;
    let expected = Node {
        disabled: false,
        ..rotated
    };
    assert_eq!(enabled, expected);
    assert_eq!(
        (&enabled.name, &enabled.ipv4, &enabled.ipv6),
        (&good.name, &good.ipv4, &good.ipv6)
    );
    assert_eq!(list_audit(&services, "node.enable").await.len(), 1);
    enable(&services, &good).await;
    assert_eq!(list_audit(&services, "node.enable").await.len(), 1);
}

async fn disabled_node_changes_nothing_of_itself_until_it_is_enabled(services: TestServices) {
    let key = services.new_user_key(true).await;
    let good = services.register_node(with_key(1, 101, &key)).await;
    let disabled = disable(&services, &good).await;
    let client = ClientReport {
        sequence: 1,
        host: Some(HostReport {
            hostname: "moved".to_owned(),
            ..HostReport::default()
        }),
        ..ClientReport::default()
    };
    let report = NodeReport {
        client: Some(client),
        ..NodeReport::default()
    };
    assert!(services.report_node(&good, report).await.accepted);
    assert_eq!(services.node(good.id).await, disabled);
    enable(&services, &good).await;
    let moved = |node: &Node| node.name == "moved" && !node.disabled;
    services.wait_for_node(good.id, moved).await;
}

async fn disabling_approval_and_suspension_stand_beside_each_other(services: TestServices) {
    services.require_approval().await;
    let key = services.new_user_key(true).await;
    let waiting = services.register_node(with_key(1, 101, &key)).await;
    disable(&services, &waiting).await;
    services.set_suspended(&services.user, true).await;
    let approved = approve(&services, &waiting).await;
    assert!(approved.approved && approved.disabled);
    assert!(!approved.may_take_part(false));
    services.set_suspended(&services.user, false).await;
    assert!(services.node(waiting.id).await.disabled);
    let enabled = enable(&services, &waiting).await;
    assert!(enabled.may_take_part(false) && !enabled.may_take_part(true));
}

async fn disabled_router_gives_its_routes_to_another(services: TestServices) {
    services
        .set_policy(r#"{"autoApprovers": {"routes": {"10.0.0.0/8": ["amira@example.com"]}}}"#)
        .await;
    let key = services.new_user_key(true).await;
    let router = |machine: u8| RegisterRequest {
        advertised_routes: vec!["10.1.0.0/16".to_owned()],
        ..with_key(machine, machine + 100, &key)
    };
    let one = services.register_node(router(1)).await;
    let two = services.register_node(router(2)).await;
    let primaries = async |node: &Node| services.node(node.id).await.primary_routes;
    assert_eq!(primaries(&one).await, ["10.1.0.0/16"]);
    assert!(disable(&services, &one).await.primary_routes.is_empty());
    assert_eq!(primaries(&two).await, ["10.1.0.0/16"]);
}

async fn logout_of_a_disabled_ephemeral_node_leaves_it_disabled(services: TestServices) {
    let key = services.new_user_key(true).await;
    let passing = RegisterRequest {
        ephemeral: true,
        ..with_key(1, 101, &key)
    };
    let node = services.register_node(passing.clone()).await;
    disable(&services, &node).await;
    let logout = RegisterRequest {
        expiry: Some(Timestamp {
            seconds: 123,
            nanos: 0,
        }),
        ..request(1, 101)
    };
    let outcome = services.register(logout).await;
    assert!(matches!(outcome, Outcome::LoggedOut(_)), "{outcome:?}");
    let back = RegisterRequest {
        node_key: vec![102; 32],
        ..passing
    };
    let back = services.register_node(back).await;
    assert_eq!((back.id, back.disabled), (node.id, true));
}

async fn denied_machine_is_refused_until_it_is_approved_or_deleted(services: TestServices) {
    services.require_approval().await;
    let key = services.new_user_key(true).await;
    let waiting = services.register_node(with_key(1, 101, &key)).await;
    let answer = try_denying(&services, &waiting).await.unwrap();
    let (denied, revocation) = (answer.node.unwrap(), answer.revocation.unwrap());
    assert!(denied.denied && !denied.approved && denied.expired);
    assert!(revocation.revision > 0);
    assert_eq!(list_audit(&services, "node.deny").await.len(), 1);
    let again = try_denying(&services, &waiting).await.unwrap();
    assert_eq!(again.node.unwrap(), denied);
    assert_eq!(list_audit(&services, "node.deny").await.len(), 1);

    // Its client makes a new key, and is told.
    let outcome = services.register(request(1, 101)).await;
    assert!(matches!(outcome, Outcome::KeyExpired(_)), "{outcome:?}");
    let fresh = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &key)
    };
    let one_off = services.new_user_key(false).await;
    for request in [fresh.clone(), with_key(1, 103, &one_off)] {
        let reason = refusal(services.register(request).await);
        assert_eq!(reason, RefusalReason::MachineDenied);
    }
    // The refusal has not used up the key; another machine has it.
    let other = services.register_node(with_key(2, 104, &one_off)).await;
    assert!(!other.denied);

    let approved = approve(&services, &waiting).await;
    assert!(approved.approved && !approved.denied && approved.expired);
    let back = services.register_node(fresh).await;
    assert_eq!((back.id, &back.ipv4), (waiting.id, &waiting.ipv4));
    assert!(back.may_take_part(false));

    let second = services.register_node(with_key(3, 105, &key)).await;
    try_denying(&services, &second).await.unwrap();
    delete(&services, &second).await;
    let newcomer = services.register_node(with_key(3, 106, &key)).await;
    assert!(!newcomer.approved && !newcomer.denied);
    assert_ne!(newcomer.id, second.id);
}

async fn approved_machine_is_not_denied(services: TestServices) {
    let key = services.new_user_key(true).await;
    let good = services.register_node(with_key(1, 101, &key)).await;
    let refused = try_denying(&services, &good).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("disable"), "{refused}");
    assert_eq!(services.node(good.id).await, good);
}

async fn people_delete_no_device_of_theirs_that_an_administrator_keeps_out(services: TestServices) {
    let kim = services
        .new_user(services.tailnet, "kim@example.com", Role::Member)
        .await;
    let (_, token) = services.new_api_key(&kim, &["all"]).await;
    let key = PreAuthKey {
        user_id: kim.id,
        reusable: true,
        ..PreAuthKey::default()
    };
    let key = services.new_key(key).await;
    let own = services.register_node(with_key(1, 101, &key)).await;
    disable(&services, &own).await;
    let mut as_kim = NodeServiceClient::new(services.with_token(&token));
    let delete = DeleteNodeRequest {
        tailnet_id: services.tailnet,
        node_id: own.id,
    };
    let refused = as_kim.delete_node(delete).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(
        refused.message().contains("an administrator has to delete"),
        "{refused}"
    );
    let request = EnableNodeRequest {
        tailnet_id: services.tailnet,
        node_id: own.id,
    };
    let refused = as_kim.enable_node(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    enable(&services, &own).await;
    as_kim.delete_node(delete).await.unwrap();
}

#[test]
fn nothing_is_disabled_while_a_process_may_not_heed_it_on_sqlite() {
    nothing_is_disabled_while_a_process_may_not_heed_it(TestDatabase::sqlite().unwrap());
}

#[test]
fn nothing_is_disabled_while_a_process_may_not_heed_it_on_postgres() {
    if let Some(database) = TestDatabase::postgres().unwrap() {
        nothing_is_disabled_while_a_process_may_not_heed_it(database);
    }
}

fn nothing_is_disabled_while_a_process_may_not_heed_it(database: TestDatabase) {
    // Each life of the process has a runtime of its own: with it ends all that ran in the background.
    let life = || tokio::runtime::Runtime::new().unwrap();
    let (database, node) = life().block_on(async {
        let services = TestServices::start(database).await;
        let key = services.new_user_key(true).await;
        let node = services.register_node(with_key(1, 101, &key)).await;
        let table = services.database.table("key_registry", "schema_levels");
        let pool = AnyPool::connect(&services.database.url("registry")).await;
        let lower = format!("UPDATE {table} SET level = 1");
        let lower = sqlx::query(AssertSqlSafe(lower));
        lower.execute(&pool.unwrap()).await.unwrap();
        (services.database, node)
    });
    life().block_on(async {
        let services = TestServices::start(database).await;
        let refused = try_disabling(&services, &node).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("earlier release"), "{refused}");
        assert_eq!(services.node(node.id).await, node);
    });
}
