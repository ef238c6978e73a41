//! What was refused or let in because of a node's tags is so however the tags come and go.

use bowline_proto::{
    identity::v1::{
        ApprovalRule, DeleteUserRequest, KeyPolicy, LoginRules, Role,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ClientReport, DisableNodeRequest, EnableNodeRequest, HostReport, Node, NodeReport,
        PreAuthKey, RegisterRequest, node_service_client::NodeServiceClient,
    },
};
use bowline_test_support::{TestServices, on_both};

use crate::{
    request::{request, with_key},
    returning::log_in,
};

on_both!(TestServices::start =>
    login_that_may_give_no_tags_is_not_got_around_by_a_report,
    approval_by_a_rule_for_tags_ends_with_them,
    machine_that_is_kept_out_stays_so_when_its_user_is_deleted,
);

/// The user owns one tag, and its nodes the other.
const TAGS: &str = r#"{"tagOwners": {"tag:web": ["amira@example.com"], "tag:db": ["tag:web"]}}"#;

fn asking_for(tag: &str) -> NodeReport {
    let client = ClientReport {
        host: Some(HostReport {
            requested_tags: vec![tag.to_owned()],
            ..HostReport::default()
        }),
        sequence: 1,
        ..ClientReport::default()
    };
    NodeReport {
        client: Some(client),
        ..NodeReport::default()
    }
}

async fn login_that_may_give_no_tags_is_not_got_around_by_a_report(services: TestServices) {
    services.set_policy(TAGS).await;
    let policy = KeyPolicy {
        logins: Some(LoginRules {
            no_tags: true,
            ..LoginRules::default()
        }),
        ..KeyPolicy::default()
    };
    services.set_key_policy(policy).await;
    let node = log_in(&services, request(1, 101)).await;
    services.report_node(&node, asking_for("tag:web")).await;
    // It has to log in, which says why it gets none.
    let node = services.wait_for_node(node.id, |node| node.expired).await;
    assert!(node.tags.is_empty(), "{node:?}");
}

/// A rule that lets in what has a tag.
async fn let_in_tagged(services: &TestServices) {
    services.set_policy(TAGS).await;
    services.require_approval().await;
    let policy = KeyPolicy {
        approval_rules: vec![ApprovalRule {
            name: "web".to_owned(),
            tags: vec!["tag:web".to_owned()],
            ..ApprovalRule::default()
        }],
        ..KeyPolicy::default()
    };
    services.set_key_policy(policy).await;
}

async fn approval_by_a_rule_for_tags_ends_with_them(services: TestServices) {
    let_in_tagged(&services).await;
    let tagged = |machine, node| RegisterRequest {
        requested_tags: vec!["tag:web".to_owned()],
        ..request(machine, node)
    };
    let node = log_in(&services, tagged(1, 101)).await;
    assert_eq!((node.approved, &*node.approved_by_rule), (true, "web"));
    let untagged = RegisterRequest {
        old_node_key: vec![101; 32],
        ..request(1, 102)
    };
    let after = log_in(&services, untagged).await;
    assert_eq!((after.id, after.approved), (node.id, false));
    assert!(after.tags.is_empty() && after.approved_by_rule.is_empty());

    let other = log_in(&services, tagged(2, 103)).await;
    services.report_node(&other, asking_for("tag:db")).await;
    let other = services
        .wait_for_node(other.id, |node| node.tags == ["tag:db"])
        .await;
    assert!(!other.approved, "{other:?}");
}

async fn set_disabled(services: &TestServices, node: &Node, disabled: bool) {
    let (tailnet_id, node_id) = (services.tailnet, node.id);
    let mut nodes = NodeServiceClient::new(services.admin());
    if disabled {
        let request = DisableNodeRequest {
            tailnet_id,
            node_id,
        };
        nodes.disable_node(request).await.unwrap();
    } else {
        let request = EnableNodeRequest {
            tailnet_id,
            node_id,
        };
        nodes.enable_node(request).await.unwrap();
    }
}

async fn machine_that_is_kept_out_stays_so_when_its_user_is_deleted(services: TestServices) {
    let key = services.new_user_key(true).await;
    let stolen = services.register_node(with_key(1, 101, &key)).await;
    set_disabled(&services, &stolen, true).await;
    let other = services
        .new_user(services.tailnet, "bea@example.com", Role::Member)
        .await;
    let other_key = services
        .new_key(PreAuthKey {
            user_id: other.id,
            reusable: true,
            ..PreAuthKey::default()
        })
        .await;
    let delete = DeleteUserRequest {
        tailnet_id: services.tailnet,
        user_id: services.user.id,
    };
    let mut users = UserServiceClient::new(services.admin());
    users.delete_user(delete).await.unwrap();
    services.wait_for_nodes(|nodes| nodes.is_empty()).await;
    let again = services.register_node(with_key(1, 102, &other_key)).await;
    assert!(again.disabled, "{again:?}");
    // Other machines are not.
    let free = services.register_node(with_key(2, 103, &other_key)).await;
    assert!(!free.disabled);
    // An administrator lets it in, for good.
    set_disabled(&services, &again, false).await;
    let fresh = RegisterRequest {
        old_node_key: vec![102; 32],
        ..with_key(1, 104, &other_key)
    };
    let fresh = services.register_node(fresh).await;
    assert_eq!((fresh.id, fresh.disabled), (again.id, false));
}
