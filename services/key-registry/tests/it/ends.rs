//! What ends a node.

use std::time::Duration;

use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, DeleteTailnetRequest, tailnet_service_client::TailnetServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, DeleteNodeRequest, FormerHolder, ListNodesRequest, PreAuthKey,
        RegisterRequest, ResolveNodeRequest, key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_test_support::{TestServices, on_both};
use prost_types::Timestamp;

use crate::request::{request, with_key};

on_both!(TestServices::start =>
    logout_ends_the_key_and_deletes_an_ephemeral_node,
    nodes_of_a_deleted_tailnet_go_with_it,
);

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
    let mut resolve = async |node_key| registry.resolve_node(ResolveNodeRequest { node_key }).await;
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
    let request = CreatePreAuthKeyRequest { key: Some(key) };
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
            let request = ListNodesRequest { tailnet_id };
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
