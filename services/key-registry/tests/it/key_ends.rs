//! When keys end by an administrator's word: at a time, never, or all those that a pre-auth key made.

use bowline_proto::key_registry::v1::{
    ExpireNodesOfPreAuthKeyRequest, ExpireNodesOfPreAuthKeyResponse, Node, RegisterRequest,
    RevokePreAuthKeyRequest, SetNodeExpiryRequest, node_service_client::NodeServiceClient,
    pre_auth_key_service_client::PreAuthKeyServiceClient, set_node_expiry_request::Expiry,
};
use bowline_test_support::{TestServices, on_both};
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};

use crate::{
    request::with_key,
    returning::{log_in, log_out},
};

on_both!(TestServices::start =>
    end_that_an_administrator_sets_is_the_key_s_and_never_outlives_the_key,
    end_in_the_past_and_one_of_a_key_that_has_ended_are_refused,
    nodes_of_a_revoked_pre_auth_key_end_with_it_and_no_others,
    nodes_end_only_after_the_key_is_revoked,
);

pub(crate) async fn set_expiry(
    services: &TestServices,
    node: &Node,
    expiry: Expiry,
) -> Result<Node, Status> {
    let request = SetNodeExpiryRequest {
        tailnet_id: services.tailnet,
        node_id: node.id,
        expiry: Some(expiry),
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    let answer = nodes.set_node_expiry(request).await?.into_inner();
    Ok(answer.node.unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn after(seconds: i64) -> Expiry {
    Expiry::After(Duration { seconds, nanos: 0 })
}

async fn end_that_an_administrator_sets_is_the_key_s_and_never_outlives_the_key(
    services: TestServices,
) {
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let ends = node.key_expiry.unwrap().seconds;
    let far = at(4_000_000_000);
    let set = set_expiry(&services, &node, Expiry::At(far)).await.unwrap();
    assert_eq!((set.key_expiry, set.key_never_expires), (Some(far), false));
    let set = set_expiry(&services, &node, after(60)).await.unwrap();
    assert!(set.key_expiry.unwrap().seconds < ends);
    let set = set_expiry(&services, &node, Expiry::Never(true))
        .await
        .unwrap();
    assert_eq!((set.key_expiry, set.key_never_expires), (None, true));
    assert_eq!(services.node(node.id).await, set);

    // The next key of the node has no end either, but for one that its client wishes.
    let rotated = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &key)
    };
    assert_eq!(services.register_node(rotated).await.key_expiry, None);
    log_out(&services, 1, 102).await;
    let back = services.register_node(with_key(1, 103, &key)).await;
    assert_eq!((back.id, back.key_expiry), (node.id, None));
    let wish = RegisterRequest {
        old_node_key: vec![103; 32],
        expiry: Some(far),
        ..with_key(1, 104, &key)
    };
    assert_eq!(services.register_node(wish).await.key_expiry, Some(far));
    set_expiry(&services, &node, after(60)).await.unwrap();
    let again = RegisterRequest {
        old_node_key: vec![104; 32],
        ..with_key(1, 105, &key)
    };
    let lives = services.register_node(again).await.key_expiry.unwrap();
    assert!(lives.seconds >= ends, "as long as the tailnet says");
}

async fn end_in_the_past_and_one_of_a_key_that_has_ended_are_refused(services: TestServices) {
    services
        .set_policy(r#"{"tagOwners": {"tag:web": []}}"#)
        .await;
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    for (expiry, says) in [
        (Expiry::At(at(1_000_000_000)), "past"),
        (after(0), "past"),
        (after(-5), "past"),
        (after(i64::MAX), "after"),
        (after(200 * 365 * 86_400), "100 years"),
        (Expiry::Never(false), "never"),
    ] {
        let refused = set_expiry(&services, &node, expiry).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
    assert_eq!(services.node(node.id).await, node);
    log_out(&services, 1, 101).await;
    let ended = services.node(node.id).await;
    for expiry in [after(60), Expiry::Never(true)] {
        let refused = set_expiry(&services, &node, expiry).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("log in again"), "{refused}");
    }
    assert_eq!(services.node(node.id).await, ended);
    let tag_key = services.new_tag_key("tag:web").await;
    let tagged = services.register_node(with_key(2, 102, &tag_key)).await;
    let refused = set_expiry(&services, &tagged, after(60)).await.unwrap_err();
    assert!(refused.message().contains("tagged"), "{refused}");
    let never = set_expiry(&services, &tagged, Expiry::Never(true)).await;
    assert_eq!(never.unwrap().key_expiry, None);
}

async fn revoke(services: &TestServices, id: &str) {
    let request = RevokePreAuthKeyRequest {
        tailnet_id: services.tailnet,
        id: id.to_owned(),
    };
    let mut keys = PreAuthKeyServiceClient::new(services.admin());
    keys.revoke_pre_auth_key(request).await.unwrap();
}

async fn expire_nodes(
    services: &TestServices,
    id: &str,
) -> Result<ExpireNodesOfPreAuthKeyResponse, Status> {
    let request = ExpireNodesOfPreAuthKeyRequest {
        tailnet_id: services.tailnet,
        pre_auth_key_id: id.to_owned(),
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    let answer = nodes.expire_nodes_of_pre_auth_key(request).await?;
    Ok(answer.into_inner())
}

/// Returns the id that a key's text has in it.
fn id_of(key: &str) -> String {
    key.split('-').nth(2).unwrap().to_owned()
}

async fn nodes_of_a_revoked_pre_auth_key_end_with_it_and_no_others(services: TestServices) {
    let leaked = services.new_user_key(true).await;
    let other = services.new_user_key(true).await;
    let made = services.register_node(with_key(1, 101, &leaked)).await;
    let rest = services.register_node(with_key(2, 102, &other)).await;
    // One that another key made, and that this one gave a key since.
    let retaken = services.register_node(with_key(3, 103, &other)).await;
    let rotated = RegisterRequest {
        old_node_key: vec![103; 32],
        ..with_key(3, 104, &leaked)
    };
    services.register_node(rotated).await;
    let by_login = log_in(&services, crate::request::request(4, 105)).await;
    let gone = services.register_node(with_key(5, 106, &leaked)).await;
    log_out(&services, 5, 106).await;

    let id = id_of(&leaked);
    revoke(&services, &id).await;
    let answer = expire_nodes(&services, &id).await.unwrap();
    let names: Vec<_> = answer
        .nodes
        .iter()
        .map(|node| (node.id, &*node.name))
        .collect();
    assert_eq!(
        names,
        [(made.id, &*made.name), (retaken.id, &*retaken.name)]
    );
    assert!(!answer.more && answer.revocation.unwrap().revision > 0);
    for node in [&made, &retaken, &gone] {
        assert!(services.node(node.id).await.expired, "{}", node.name);
    }
    assert_eq!(services.node(rest.id).await, rest);
    assert_eq!(services.node(by_login.id).await, by_login);
    // Once more there is nothing to do, and the answer still says how far the gateways are.
    let again = expire_nodes(&services, &id).await.unwrap();
    assert!(again.nodes.is_empty() && again.revocation.unwrap().revision > 0);
}

async fn nodes_end_only_after_the_key_is_revoked(services: TestServices) {
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let id = id_of(&key);
    let refused = expire_nodes(&services, &id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("revoke it first"), "{refused}");
    assert_eq!(services.node(node.id).await, node);
    let unknown = expire_nodes(&services, "nobody").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    revoke(&services, &id).await;
    assert_eq!(expire_nodes(&services, &id).await.unwrap().nodes.len(), 1);
}
