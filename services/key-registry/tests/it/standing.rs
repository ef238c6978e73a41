//! Nodes that are not in good standing change nothing of themselves, and what they report meanwhile is not lost.

use bowline_proto::{
    changes::v1::SnapshotRequest,
    identity::v1::{
        DeleteUserRequest, Tailnet, UpdateTailnetRequest,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ApproveNodeRequest, ClientReport, Endpoint, ExpireNodeRequest, HostReport, Node,
        NodeReport, PreAuthKey, RefusalReason, RegisterRequest, SetTagsRequest, SoftState,
        TaggedBy, key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
    },
};
use bowline_test_support::{TestDatabase, TestServices, on_both};
use prost_types::{FieldMask, Timestamp};

use crate::request::{refusal, request, with_key};

on_both!(TestServices::start =>
    suspended_user_s_node_changes_nothing_until_the_user_is_restored,
    node_that_waits_for_approval_changes_nothing_until_it_is_approved,
    node_whose_key_has_ended_changes_nothing,
    node_of_a_deleted_user_changes_nothing,
    node_remembers_who_tagged_it,
);

/// The user owns the tag, and may route.
const POLICY: &str = r#"{
    "tagOwners": {"tag:ci": ["amira@example.com"], "tag:key": []},
    "autoApprovers": {"routes": {"10.0.0.0/8": ["amira@example.com", "tag:ci"]}},
}"#;

/// What a device says after it moved to another network, was renamed, and wants more.
fn moved(sequence: u64) -> NodeReport {
    let client = ClientReport {
        sequence,
        disco_key: vec![5; 32],
        endpoints: vec![Endpoint {
            address: "203.0.113.7:41641".to_owned(),
            kind: 1,
        }],
        capability_version: 130,
        host: Some(HostReport {
            home_derp: 901,
            hostname: "moved".to_owned(),
            os: "linux".to_owned(),
            advertised_routes: vec!["10.1.0.0/16".to_owned()],
            requested_tags: vec!["tag:ci".to_owned()],
            ..HostReport::default()
        }),
    };
    NodeReport {
        client: Some(client),
        ..NodeReport::default()
    }
}

/// Tries all that a device can to change its node, which it may not.
async fn try_everything(services: &TestServices, node: &Node, machine: u8) {
    let before = services.node(node.id).await;
    let result = services.report_node(node, moved(7)).await;
    assert!(result.accepted && !result.again);
    let sooner = RegisterRequest {
        expiry: Some(Timestamp {
            seconds: 4_000_000_000,
            nanos: 0,
        }),
        requested_tags: vec!["tag:ci".to_owned()],
        hostname: "moved".to_owned(),
        ..request(machine, node.node_key[0])
    };
    services.register(sooner).await;
    assert_eq!(services.node(node.id).await, before);
}

fn is_moved(node: &Node) -> bool {
    (&*node.name, &*node.hostname, &*node.os) == ("moved", "moved", "linux")
        && node.advertised_routes == ["10.1.0.0/16"]
        && node.approved_routes == ["10.1.0.0/16"]
        && node.tags == ["tag:ci"]
        && node.tagged_by() == TaggedBy::User
}

async fn soft(services: &TestServices, id: u64) -> SoftState {
    let request = SnapshotRequest {
        tailnet_id: services.tailnet,
    };
    let mut registry = KeyRegistryServiceClient::new(services.gateway());
    let mut chunks = registry.snapshot(request).await.unwrap().into_inner();
    let only = chunks.message().await.unwrap().unwrap();
    let mut all = only.soft.into_iter();
    all.find(|state| state.node_id == id).unwrap()
}

async fn suspended_user_s_node_changes_nothing_until_the_user_is_restored(services: TestServices) {
    services.set_policy(POLICY).await;
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    services.set_suspended(&services.user, true).await;
    // Whether this registry has heard of it yet or not.
    try_everything(&services, &node, 1).await;
    let again = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &key)
    };
    let reason = refusal(services.register(again).await);
    assert_eq!(reason, RefusalReason::UserSuspended);
    // A key of nobody's makes a node of its own: the suspended one is not freed by it.
    let tag_key = services.new_tag_key("tag:key").await;
    let by_tag = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 103, &tag_key)
    };
    assert_ne!(services.register_node(by_tag).await.id, node.id);
    try_everything(&services, &node, 1).await;

    // Where it is reached now is known before it may be told.
    let soft = soft(&services, node.id).await;
    assert_eq!(soft.endpoints[0].address, "203.0.113.7:41641");
    assert_eq!((soft.home_derp, soft.disco_key), (901, vec![5; 32]));
    services.set_suspended(&services.user, false).await;
    services.wait_for_node(node.id, is_moved).await;
}

#[test]
fn kept_report_outlives_a_restart_on_sqlite() {
    kept_report_outlives_a_restart(TestDatabase::sqlite().unwrap());
}

#[test]
fn kept_report_outlives_a_restart_on_postgres() {
    if let Some(database) = TestDatabase::postgres().unwrap() {
        kept_report_outlives_a_restart(database);
    }
}

fn kept_report_outlives_a_restart(database: TestDatabase) {
    // Each life of the process has a runtime of its own: with it ends all that ran in the background.
    let life = || tokio::runtime::Runtime::new().unwrap();
    let (database, node) = life().block_on(async {
        let services = TestServices::start(database).await;
        services.set_policy(POLICY).await;
        let key = services.new_user_key(true).await;
        let node = services.register_node(with_key(1, 101, &key)).await;
        services.set_suspended(&services.user, true).await;
        services.report_node(&node, moved(1)).await;
        (services.database, node)
    });
    let database = life().block_on(async {
        let services = TestServices::start(database).await;
        assert_eq!(services.node(node.id).await, node);
        services.set_suspended(&services.user, false).await;
        services.database
    });
    life().block_on(async {
        let services = TestServices::start(database).await;
        services.wait_for_node(node.id, is_moved).await;
        let soft = soft(&services, node.id).await;
        assert_eq!(soft.endpoints[0].address, "203.0.113.7:41641");
    });
}

async fn node_that_waits_for_approval_changes_nothing_until_it_is_approved(services: TestServices) {
    services.set_policy(POLICY).await;
    let settings = Tailnet {
        id: services.tailnet,
        machine_approval: true,
        ..Tailnet::default()
    };
    let request = UpdateTailnetRequest {
        tailnet: Some(settings),
        update_mask: Some(FieldMask {
            paths: vec!["machine_approval".to_owned()],
        }),
    };
    let mut tailnets = TailnetServiceClient::new(services.admin());
    tailnets.update_tailnet(request).await.unwrap();
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    assert!(!node.approved);
    try_everything(&services, &node, 1).await;
    // A new key changes the key, and nothing else; what is said with it is kept like a report.
    let rotated = RegisterRequest {
        old_node_key: vec![101; 32],
        hostname: "moved".to_owned(),
        os: "linux".to_owned(),
        advertised_routes: vec!["10.1.0.0/16".to_owned()],
        ..with_key(1, 102, &key)
    };
    let rotated = services.register_node(rotated).await;
    let expected = Node {
        node_key: vec![102; 32],
        key_expiry: rotated.key_expiry,
        ..node.clone()
    };
    assert_eq!(rotated, expected);
    let approve = ApproveNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.approve_node(approve).await.unwrap();
    let approved = services
        .wait_for_node(node.id, |node| node.name == "moved")
        .await;
    assert_eq!(approved.approved_routes, ["10.1.0.0/16"]);
    services.report_node(&approved, moved(9)).await;
    services.wait_for_node(node.id, is_moved).await;
}

async fn node_whose_key_has_ended_changes_nothing(services: TestServices) {
    services.set_policy(POLICY).await;
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let expire = ExpireNodeRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.expire_node(expire).await.unwrap();
    try_everything(&services, &node, 1).await;
    // Logging in again is a new word of its client: what was kept before is older.
    let again = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &key)
    };
    let again = services.register_node(again).await;
    assert_eq!(
        (again.id, &*again.name, again.tags.len()),
        (node.id, "laptop", 0)
    );
    services.report_node(&again, moved(9)).await;
    services.wait_for_node(node.id, is_moved).await;
}

async fn node_of_a_deleted_user_changes_nothing(services: TestServices) {
    services.set_policy(POLICY).await;
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    services.report_node(&node, moved(1)).await;
    let tagged = services.wait_for_node(node.id, is_moved).await;
    let delete = DeleteUserRequest {
        tailnet_id: services.tailnet,
        user_id: services.user.id,
    };
    let mut users = UserServiceClient::new(services.admin());
    users.delete_user(delete).await.unwrap();
    let other = ClientReport {
        host: Some(HostReport {
            requested_tags: vec!["tag:key".to_owned()],
            ..HostReport::default()
        }),
        sequence: 2,
        ..ClientReport::default()
    };
    let report = NodeReport {
        client: Some(other),
        ..NodeReport::default()
    };
    services.report_node(&tagged, report).await;
    assert_eq!(
        services.node(node.id).await,
        tagged,
        "it stays, and goes with its user"
    );
    assert!(tagged.goes_with_user());
}

async fn node_remembers_who_tagged_it(services: TestServices) {
    services.set_policy(POLICY).await;
    let key = services.new_user_key(true).await;
    let by_login = RegisterRequest {
        requested_tags: vec!["tag:ci".to_owned()],
        ..with_key(1, 101, &key)
    };
    let by_login = services.register_node(by_login).await;
    assert_eq!(by_login.tagged_by(), TaggedBy::User);
    let tag_key = services.new_tag_key("tag:key").await;
    let by_key = services.register_node(with_key(2, 102, &tag_key)).await;
    assert_eq!(by_key.tagged_by(), TaggedBy::PreAuthKey);
    let with_user = PreAuthKey {
        user_id: services.user.id,
        tags: vec!["tag:key".to_owned()],
        ..PreAuthKey::default()
    };
    let with_user = services.new_key(with_user).await;
    let by_user_s_key = services.register_node(with_key(3, 103, &with_user)).await;
    assert_eq!(by_user_s_key.tagged_by(), TaggedBy::PreAuthKey);
    assert!(!by_user_s_key.goes_with_user());

    // An administrator confirms the tags that it has.
    let confirm = SetTagsRequest {
        tailnet_id: services.tailnet,
        node_id: by_login.id,
        tags: by_login.tags.clone(),
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    let confirmed = nodes.set_tags(confirm).await.unwrap().into_inner();
    let confirmed = confirmed.node.unwrap();
    assert_eq!(confirmed.tagged_by(), TaggedBy::Administrator);
    assert!(!confirmed.goes_with_user());
    // Asking for them again does not undo that; asking for others, or for none, does.
    let again = RegisterRequest {
        requested_tags: vec!["tag:ci".to_owned()],
        old_node_key: vec![101; 32],
        ..with_key(1, 104, &key)
    };
    let again = services.register_node(again).await;
    assert_eq!(again.tagged_by(), TaggedBy::Administrator);
    let untagged = RegisterRequest {
        old_node_key: vec![104; 32],
        ..with_key(1, 105, &key)
    };
    let untagged = services.register_node(untagged).await;
    assert_eq!((untagged.id, untagged.tags.len()), (by_login.id, 0));
    assert_eq!(untagged.tagged_by(), TaggedBy::Unspecified);
}
