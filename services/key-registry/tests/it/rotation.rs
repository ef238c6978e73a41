//! Whose a node key is, and how another takes its place.

use bowline_proto::{
    identity::v1::{Tailnet, UpdateTailnetRequest, tailnet_service_client::TailnetServiceClient},
    key_registry::v1::{RefusalReason, RegisterRequest, register_response::Outcome},
};
use bowline_test_support::{TestServices, on_both};
use prost_types::{FieldMask, Timestamp};

use crate::request::{refusal, request, with_key};

on_both!(TestServices::start =>
    key_of_another_machine_is_refused_on_every_path,
    rotation_keeps_a_numbered_name,
    rotation_keeps_the_node_and_retires_the_old_key,
    rotation_is_refused_unproven_where_the_tailnet_asks_for_proof,
);

async fn key_of_another_machine_is_refused_on_every_path(services: TestServices) {
    let key = services.new_user_key(true).await;
    let own = services.register_node(with_key(1, 101, &key)).await;
    let foreign = RefusalReason::NodeKeyOfAnotherMachine;
    assert_eq!(
        refusal(services.register(with_key(2, 101, &key)).await),
        foreign
    );
    assert_eq!(refusal(services.register(request(2, 101)).await), foreign);
    let past = Some(Timestamp {
        seconds: 123,
        nanos: 0,
    });
    let logout = RegisterRequest {
        expiry: past,
        ..request(2, 101)
    };
    assert_eq!(refusal(services.register(logout).await), foreign);
    let old_node_key = vec![101; 32];
    let thief = RegisterRequest {
        old_node_key,
        ..with_key(2, 102, &key)
    };
    assert_eq!(refusal(services.register(thief).await), foreign);
    services.register_node(with_key(2, 102, &key)).await;
    assert_eq!(
        services.register_node(request(1, 101)).await.node_key,
        own.node_key
    );
}

async fn rotation_keeps_a_numbered_name(services: TestServices) {
    let key = services.new_user_key(true).await;
    services.register_node(with_key(1, 101, &key)).await;
    assert_eq!(
        services.register_node(with_key(2, 102, &key)).await.name,
        "laptop-1"
    );
    let rotate = RegisterRequest {
        old_node_key: vec![102; 32],
        ..with_key(2, 103, &key)
    };
    assert_eq!(services.register_node(rotate).await.name, "laptop-1");
}

async fn rotation_keeps_the_node_and_retires_the_old_key(services: TestServices) {
    let key = services.new_user_key(true).await;
    let first = services.register_node(with_key(1, 101, &key)).await;
    let old_node_key = vec![101; 32];
    let rotate = RegisterRequest {
        old_node_key,
        ..with_key(1, 102, &key)
    };
    let second = services.register_node(rotate.clone()).await;
    assert_eq!(
        (second.id, &second.ipv4, &second.name),
        (first.id, &first.ipv4, &first.name)
    );
    // A client names its last key with every request: that is history, no rotation.
    assert_eq!(services.register_node(rotate).await.id, first.id);
    // The retired key is bound to nobody again: its machine is told to make another.
    assert!(matches!(
        services.register(with_key(1, 101, &key)).await,
        Outcome::KeyExpired(_)
    ));
    let foreign = services.register(with_key(2, 101, &key)).await;
    assert_eq!(refusal(foreign), RefusalReason::NodeKeyOfAnotherMachine);
}

async fn rotation_is_refused_unproven_where_the_tailnet_asks_for_proof(services: TestServices) {
    let wanted = Tailnet {
        id: services.tailnet,
        require_key_proof: true,
        ..Tailnet::default()
    };
    let request = UpdateTailnetRequest {
        tailnet: Some(wanted),
        update_mask: Some(FieldMask {
            paths: vec!["require_key_proof".to_owned()],
        }),
    };
    let mut tailnets = TailnetServiceClient::new(services.admin());
    tailnets.update_tailnet(request).await.unwrap();
    let (key, once) = (
        services.new_user_key(true).await,
        services.new_user_key(false).await,
    );
    let first = services.register_node(with_key(1, 101, &key)).await;
    let rotate = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &once)
    };
    let outcome = services.register(rotate.clone()).await;
    assert_eq!(refusal(outcome), RefusalReason::NodeKeyUnproven);
    // A refusal changes nothing: the one-off key still works, the old node key, too.
    services.register_node(self::request(1, 101)).await;
    let proven = RegisterRequest {
        proven_node_keys: vec![vec![101; 32], vec![102; 32]],
        ..rotate
    };
    assert_eq!(services.register_node(proven).await.id, first.id);
    // Who names a key from before can not prove the present one: it is another node.
    let former = RegisterRequest {
        old_node_key: vec![101; 32],
        proven_node_keys: vec![vec![101; 32], vec![103; 32]],
        ..with_key(1, 103, &key)
    };
    assert_ne!(services.register_node(former).await.id, first.id);
}
