//! Custom attributes of nodes, set by administrators and by nodes.

use std::{collections::BTreeMap, sync::Arc};

use bowline_clock::{Clock as _, ManualClock, SystemClock};
use bowline_proto::{
    audit::v1::{AuditEntry, ListAuditRequest},
    identity::v1::Role,
    key_registry::v1::{
        AttributeToSet, CustomAttribute, CustomValue, DisableNodeRequest,
        ListNodeAttributesRequest, Node, NodeAttributesUpdate, PreAuthKey,
        SetNodeAttributesRequest, SetOwnAttributesRequest, attribute_to_set::Expiry,
        audit_service_client::AuditServiceClient, custom_value::Kind,
        key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
    },
    time::{from_timestamp, to_timestamp},
};
use bowline_service_kit::status_reason;
use bowline_test_support::{TestDatabase, TestServices, on_both};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::{AnyPool, AssertSqlSafe};
use tonic::{Code, Status};

use crate::request::with_key;

on_both!(TestServices::start =>
    attributes_are_set_listed_and_removed_with_what_was_before_in_the_trail,
    attribute_has_one_type_in_a_tailnet_and_the_policy_decides,
    one_bad_update_leaves_all_nodes_as_they_were,
    attribute_with_an_end_goes_by_itself,
    node_sets_what_the_policy_leaves_to_nodes_and_nothing_else,
    node_that_may_not_take_part_sets_nothing,
    node_changes_its_attributes_a_few_times_in_a_row_and_no_more,
    tokens_set_and_read_attributes_by_a_scope_of_their_own,
);

/// The policy leaves one attribute to nodes, and fixes the types of two.
const POLICY: &str = r#"{"attrConfig": {
    "custom:health": {"type": "string", "allowSetByNode": true},
    "custom:level": {"type": "number"}}}"#;

fn text(name: &str, text: &str) -> AttributeToSet {
    set(name, Kind::Text(text.to_owned()))
}

fn set(name: &str, kind: Kind) -> AttributeToSet {
    AttributeToSet {
        name: name.to_owned(),
        value: Some(CustomValue { kind: Some(kind) }),
        ..AttributeToSet::default()
    }
}

fn update(node: &Node, set: Vec<AttributeToSet>, remove: &[&str]) -> NodeAttributesUpdate {
    NodeAttributesUpdate {
        node_id: node.id,
        set,
        remove: remove.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn to_set(services: &TestServices, updates: Vec<NodeAttributesUpdate>) -> SetNodeAttributesRequest {
    SetNodeAttributesRequest {
        tailnet_id: services.tailnet,
        updates,
    }
}

async fn try_set(
    services: &TestServices,
    updates: Vec<NodeAttributesUpdate>,
) -> Result<(), Status> {
    let mut asked: Vec<_> = updates.iter().map(|update| update.node_id).collect();
    asked.sort_unstable();
    let mut nodes = NodeServiceClient::new(services.admin());
    let answer = nodes.set_node_attributes(to_set(services, updates)).await?;
    let changed = answer.into_inner().nodes;
    let changed: Vec<_> = changed.iter().map(|node| node.node_id).collect();
    assert_eq!(changed, asked);
    Ok(())
}

async fn try_set_own(
    services: &TestServices,
    node: &Node,
    update: NodeAttributesUpdate,
) -> Result<(), Status> {
    let request = SetOwnAttributesRequest {
        machine_key: node.machine_key.clone(),
        node_key: node.node_key.clone(),
        update: Some(update),
    };
    let mut registry = KeyRegistryServiceClient::new(services.gateway());
    registry.set_own_attributes(request).await.map(drop)
}

/// Returns the values of a node by name.
async fn values(services: &TestServices, node: &Node) -> BTreeMap<String, Kind> {
    let attributes = services.node(node.id).await.attributes.into_iter();
    let value =
        |attribute: CustomAttribute| (attribute.name, attribute.value.unwrap().kind.unwrap());
    attributes.map(value).collect()
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

fn reason(status: &Status) -> String {
    status_reason(status).unwrap()
}

async fn two_nodes(services: &TestServices) -> [Node; 2] {
    let key = services.new_user_key(true).await;
    [
        services.register_node(with_key(1, 101, &key)).await,
        services.register_node(with_key(2, 102, &key)).await,
    ]
}

async fn attributes_are_set_listed_and_removed_with_what_was_before_in_the_trail(
    services: TestServices,
) {
    let [one, other] = two_nodes(&services).await;
    let commented = AttributeToSet {
        comment: "ticket 7".to_owned(),
        ..text("custom:tier", "gold")
    };
    let level = set("custom:level", Kind::Number(3.5));
    let first = vec![
        update(&one, vec![level, commented], &[]),
        update(&other, vec![text("custom:tier", "silver")], &[]),
    ];
    try_set(&services, first.clone()).await.unwrap();
    // Once more changes nothing.
    try_set(&services, first).await.unwrap();
    let request = ListNodeAttributesRequest {
        tailnet_id: services.tailnet,
        node_id: one.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    let listed = nodes.list_node_attributes(request).await.unwrap();
    let listed = listed.into_inner().nodes.remove(0);
    assert_eq!((listed.node_id, &listed.name), (one.id, &one.name));
    let shown: Vec<_> = listed
        .attributes
        .iter()
        .map(|attribute| (attribute.name.as_str(), attribute.comment.as_str()))
        .collect();
    assert_eq!(shown, [("custom:level", ""), ("custom:tier", "ticket 7")]);
    assert_eq!(listed.attributes, services.node(one.id).await.attributes);

    try_set(&services, vec![update(&one, Vec::new(), &["custom:tier"])])
        .await
        .unwrap();
    let audited = list_audit(&services, "node.set_attributes").await;
    assert_eq!(audited.len(), 3);
    let removal = audited
        .iter()
        .map(|entry| serde_json::from_str::<Value>(&entry.detail).unwrap())
        .find(|detail| detail["after"]["attributes"]["custom:tier"].is_null())
        .unwrap();
    let was = json!({ "value": "gold", "expires_at": null, "comment": "ticket 7" });
    assert_eq!(
        removal["before"]["attributes"],
        json!({ "custom:tier": was })
    );
    assert_eq!(removal["by"], "administrator");
    let left = values(&services, &one).await;
    assert_eq!(
        left,
        BTreeMap::from([("custom:level".to_owned(), Kind::Number(3.5))])
    );
}

async fn attribute_has_one_type_in_a_tailnet_and_the_policy_decides(services: TestServices) {
    let [one, other] = two_nodes(&services).await;
    let first = update(&one, vec![text("custom:tier", "1")], &[]);
    try_set(&services, vec![first]).await.unwrap();
    let number = |node: &Node| update(node, vec![set("custom:tier", Kind::Number(1.0))], &[]);
    let refused = try_set(&services, vec![number(&other)]).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*reason(&refused)),
        (Code::FailedPrecondition, "ATTRIBUTE_TYPE")
    );
    let text_of_it = format!(
        "custom:tier is a string at {}, and can not be a number",
        one.name
    );
    assert!(refused.message().starts_with(&text_of_it), "{refused}");
    // All that have it at once may have another type, and in one request only one.
    try_set(&services, vec![number(&one), number(&other)])
        .await
        .unwrap();
    let mixed = vec![
        number(&one),
        update(&other, vec![text("custom:tier", "1")], &[]),
    ];
    let refused = try_set(&services, mixed).await.unwrap_err();
    assert_eq!(reason(&refused), "ATTRIBUTE_TYPE");

    services.set_policy(POLICY).await;
    let wrong = update(&one, vec![text("custom:level", "high")], &[]);
    let refused = try_set(&services, vec![wrong]).await.unwrap_err();
    assert!(
        refused
            .message()
            .contains("is a number by attrConfig of the policy"),
        "{refused}"
    );
    let right = update(&one, vec![set("custom:level", Kind::Number(1.0))], &[]);
    try_set(&services, vec![right]).await.unwrap();
}

async fn one_bad_update_leaves_all_nodes_as_they_were(services: TestServices) {
    let [one, other] = two_nodes(&services).await;
    let gold = update(&one, vec![text("custom:tier", "gold")], &[]);
    try_set(&services, vec![gold]).await.unwrap();
    let before = services.node(one.id).await;
    let silver = || update(&one, vec![text("custom:tier", "silver")], &[]);
    let many = (0..50)
        .map(|number| text(&format!("custom:a{number}"), "x"))
        .collect();
    try_set(&services, vec![update(&other, many, &[])])
        .await
        .unwrap();
    let past = AttributeToSet {
        expiry: Some(Expiry::ExpiresAt(to_timestamp(
            SystemClock.now() - TimeDelta::seconds(1),
        ))),
        ..text("custom:tier", "x")
    };
    let unknown = Node {
        id: other.id + 1000,
        ..Node::default()
    };
    for (bad, code) in [
        (update(&unknown, Vec::new(), &[]), Code::NotFound),
        (
            update(&other, vec![text("tier", "x")], &[]),
            Code::InvalidArgument,
        ),
        (
            update(&other, vec![text("custom:tier", "")], &[]),
            Code::InvalidArgument,
        ),
        (update(&other, vec![past], &[]), Code::InvalidArgument),
        (
            update(&other, vec![text("custom:one", "x")], &[]),
            Code::FailedPrecondition,
        ),
        (
            update(&one, Vec::new(), &["custom:tier"]),
            Code::InvalidArgument,
        ),
    ] {
        let refused = try_set(&services, vec![silver(), bad]).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert_eq!(services.node(one.id).await, before, "{refused}");
    }
    // Nor is anything left of them that is looked up: a type that was refused is free.
    let first = update(&other, Vec::new(), &["custom:a0"]);
    try_set(&services, vec![first]).await.unwrap();
    let free = update(&other, vec![set("custom:one", Kind::Flag(true))], &[]);
    try_set(&services, vec![free]).await.unwrap();
}

async fn attribute_with_an_end_goes_by_itself(services: TestServices) {
    let [one, _] = two_nodes(&services).await;
    let passing = AttributeToSet {
        expiry: Some(Expiry::ExpiresAfter(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        })),
        ..text("custom:access", "yes")
    };
    let updates = vec![update(
        &one,
        vec![passing, text("custom:tier", "gold")],
        &[],
    )];
    try_set(&services, updates).await.unwrap();
    let attributes = services.node(one.id).await.attributes;
    let end = attributes[0].expires_at.and_then(from_timestamp).unwrap();
    let left = services
        .wait_for_node(one.id, |node| node.attributes.len() == 1)
        .await;
    assert_eq!(left.attributes[0].name, "custom:tier");
    let audited = list_audit(&services, "node.end_attributes").await;
    assert_eq!(
        (audited.len(), &*audited[0].actor),
        (1, "service:key-registry")
    );
    let ended = audited[0].time.and_then(from_timestamp).unwrap();
    let late = ended - end;
    assert!(
        late >= TimeDelta::zero() && late < TimeDelta::seconds(3),
        "{late}"
    );
}

#[tokio::test]
async fn attribute_does_not_end_before_its_time() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let database = TestDatabase::sqlite().unwrap();
    let services = TestServices::start_with_clock(database, Arc::clone(&clock) as _).await;
    let [one, other] = two_nodes(&services).await;
    let passing = |seconds| AttributeToSet {
        expiry: Some(Expiry::ExpiresAfter(prost_types::Duration {
            seconds,
            nanos: 0,
        })),
        ..text("custom:access", "yes")
    };
    let updates = vec![
        update(&one, vec![passing(3600)], &[]),
        update(&other, vec![passing(3599)], &[]),
    ];
    try_set(&services, updates).await.unwrap();
    clock.advance(TimeDelta::seconds(3599));
    services
        .wait_for_node(other.id, |node| node.attributes.is_empty())
        .await;
    assert_eq!(services.node(one.id).await.attributes.len(), 1);
    clock.advance(TimeDelta::seconds(1));
    services
        .wait_for_node(one.id, |node| node.attributes.is_empty())
        .await;
}

async fn node_sets_what_the_policy_leaves_to_nodes_and_nothing_else(services: TestServices) {
    let [one, other] = two_nodes(&services).await;
    let good = || update(&Node::default(), vec![text("custom:health", "good")], &[]);
    let refused = try_set_own(&services, &one, good()).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*reason(&refused)),
        (Code::PermissionDenied, "ATTRIBUTE_NOT_BY_NODE")
    );
    services.set_policy(POLICY).await;
    try_set_own(&services, &one, good()).await.unwrap();
    let expected = BTreeMap::from([("custom:health".to_owned(), Kind::Text("good".to_owned()))]);
    assert_eq!(values(&services, &one).await, expected);
    assert!(values(&services, &other).await.is_empty());
    let audited = list_audit(&services, "node.set_attributes").await;
    assert_eq!(audited.len(), 1);
    let detail: Value = serde_json::from_str(&audited[0].detail).unwrap();
    assert_eq!(detail["by"], "node");
    assert_eq!(
        detail["after"]["attributes"]["custom:health"]["value"],
        "good"
    );

    // Not beside others, not one of an administrator, and not of another type.
    let level = set("custom:level", Kind::Number(9.0));
    let with_more = update(&one, vec![text("custom:health", "bad"), level], &[]);
    for (bad, reason_of_it) in [
        (with_more, "ATTRIBUTE_NOT_BY_NODE"),
        (
            update(&one, Vec::new(), &["custom:level"]),
            "ATTRIBUTE_NOT_BY_NODE",
        ),
        (
            update(&one, vec![set("custom:health", Kind::Flag(true))], &[]),
            "ATTRIBUTE_TYPE",
        ),
    ] {
        let refused = try_set_own(&services, &one, bad).await.unwrap_err();
        assert_eq!(reason(&refused), reason_of_it);
    }
    // Not with the key of another machine's node.
    let foreign = Node {
        machine_key: other.machine_key.clone(),
        ..one.clone()
    };
    let refused = try_set_own(&services, &foreign, good()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(values(&services, &one).await, expected);
    let gone = update(&one, Vec::new(), &["custom:health"]);
    try_set_own(&services, &one, gone).await.unwrap();
    assert!(values(&services, &one).await.is_empty());
}

async fn node_that_may_not_take_part_sets_nothing(services: TestServices) {
    services.set_policy(POLICY).await;
    let [one, _] = two_nodes(&services).await;
    let request = DisableNodeRequest {
        tailnet_id: services.tailnet,
        node_id: one.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.disable_node(request).await.unwrap();
    let good = update(&one, vec![text("custom:health", "good")], &[]);
    let refused = try_set_own(&services, &one, good.clone())
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "NODE_NOT_IN_GOOD_STANDING");
    // An administrator may, before the node is let in again.
    try_set(&services, vec![good]).await.unwrap();
}

async fn node_changes_its_attributes_a_few_times_in_a_row_and_no_more(services: TestServices) {
    services.set_policy(POLICY).await;
    let [one, _] = two_nodes(&services).await;
    let numbered =
        |number: u32| update(&one, vec![text("custom:health", &number.to_string())], &[]);
    let mut taken = 0;
    let refused = loop {
        match try_set_own(&services, &one, numbered(taken)).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 100);
    };
    assert_eq!(
        (refused.code(), &*reason(&refused)),
        (Code::ResourceExhausted, "TOO_OFTEN")
    );
    assert!(taken >= 3, "{taken}");
    // What changes nothing counts as nothing, and the trail has one entry a minute.
    try_set_own(&services, &one, numbered(taken - 1))
        .await
        .unwrap();
    assert_eq!(list_audit(&services, "node.set_attributes").await.len(), 1);
    // An administrator's change comes after an entry of what the node has changed since.
    let gone = update(&one, Vec::new(), &["custom:health"]);
    try_set(&services, vec![gone]).await.unwrap();
    assert_eq!(list_audit(&services, "node.set_attributes").await.len(), 3);
}

async fn tokens_set_and_read_attributes_by_a_scope_of_their_own(services: TestServices) {
    let admin = services
        .new_user(services.tailnet, "ada@example.com", Role::ItAdmin)
        .await;
    let member = services
        .new_user(services.tailnet, "kim@example.com", Role::Member)
        .await;
    let [one, _] = two_nodes(&services).await;
    let key = PreAuthKey {
        user_id: member.id,
        ..PreAuthKey::default()
    };
    let key = services.new_key(key).await;
    let own = services.register_node(with_key(3, 103, &key)).await;
    let gold = |node| vec![update(node, vec![text("custom:tier", "gold")], &[])];
    let posture = "devices:posture_attributes";
    for (user, scope, may_set) in [
        (&admin, posture, true),
        (&admin, "devices:core", false),
        (&admin, "devices:posture_attributes:read", false),
        (&member, posture, false),
    ] {
        let (_, token) = services.new_api_key(user, &[scope]).await;
        // Nobody sets attributes of a device only because it is the own one.
        let mut nodes = NodeServiceClient::new(services.with_token(&token));
        let request = to_set(&services, gold(&own));
        let set = nodes.set_node_attributes(request).await;
        assert_eq!(set.is_ok(), may_set, "{scope}: {set:?}");
    }
    let (_, token) = services.new_api_key(&member, &[posture]).await;
    let mut nodes = NodeServiceClient::new(services.with_token(&token));
    let mut list = async |node_id| {
        let request = ListNodeAttributesRequest {
            tailnet_id: services.tailnet,
            node_id,
        };
        let listed = nodes.list_node_attributes(request).await;
        listed.map(|listed| listed.into_inner().nodes)
    };
    let listed = list(0).await.unwrap();
    assert_eq!((listed.len(), listed[0].node_id), (1, own.id));
    assert_eq!(list(one.id).await.unwrap_err().code(), Code::NotFound);
}

#[test]
fn nothing_is_set_while_a_process_may_lose_it_on_sqlite() {
    nothing_is_set_while_a_process_may_lose_it(TestDatabase::sqlite().unwrap());
}

#[test]
fn nothing_is_set_while_a_process_may_lose_it_on_postgres() {
    if let Some(database) = TestDatabase::postgres().unwrap() {
        nothing_is_set_while_a_process_may_lose_it(database);
    }
}

fn nothing_is_set_while_a_process_may_lose_it(database: TestDatabase) {
    // Each life of the process has a runtime of its own: with it ends all that ran in the background.
    let life = || tokio::runtime::Runtime::new().unwrap();
    let (database, node) = life().block_on(async {
        let services = TestServices::start(database).await;
        let [node, _] = two_nodes(&services).await;
        let table = services.database.table("key_registry", "schema_levels");
        let pool = AnyPool::connect(&services.database.url("registry")).await;
        let lower = format!("UPDATE {table} SET level = 1");
        let lower = sqlx::query(AssertSqlSafe(lower));
        lower.execute(&pool.unwrap()).await.unwrap();
        (services.database, node)
    });
    life().block_on(async {
        let services = TestServices::start(database).await;
        let gold = update(&node, vec![text("custom:tier", "gold")], &[]);
        let refused = try_set(&services, vec![gold]).await.unwrap_err();
        assert!(refused.message().contains("earlier release"), "{refused}");
        let key = services.new_user_key(true).await;
        let request = bowline_proto::key_registry::v1::RegisterRequest {
            os_version: "6.1".to_owned(),
            auto_update: Some(true),
            ..with_key(3, 103, &key)
        };
        let older = services.register_node(request).await;
        assert_eq!((&*older.os_version, older.auto_update), ("", None));
    });
}
