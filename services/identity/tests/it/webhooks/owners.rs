//! What the registry and the compiler have changed reaches webhooks, too.

use std::sync::Arc;

use bowline_http_client::Destinations;
use bowline_proto::{
    identity::v1::{CreateWebhookRequest, webhook_service_client::WebhookServiceClient},
    key_registry::v1::{
        ApproveNodeRequest, DeleteNodeRequest, ExpireNodeRequest, RegisterRequest,
        node_service_client::NodeServiceClient,
    },
};
use bowline_test_servers::{TestDatabase, on_both};
use bowline_test_support::TestServices;

use bowline_test_webhook_receiver::{Delivery, TestReceiver};

on_both!(start => what_happens_to_nodes_and_policies_is_sent);

struct TestOwners {
    services: TestServices,
    receiver: Arc<TestReceiver>,
}

async fn start(database: TestDatabase) -> TestOwners {
    let receiver = Arc::new(TestReceiver::start().await);
    let client = receiver.client(Destinations::Anywhere);
    TestOwners {
        services: TestServices::start_with_webhooks(database, client).await,
        receiver,
    }
}

async fn what_happens_to_nodes_and_policies_is_sent(owners: TestOwners) {
    let TestOwners { services, receiver } = owners;
    services.require_approval().await;
    let mut webhooks = WebhookServiceClient::new(services.admin());
    let request = CreateWebhookRequest {
        tailnet_id: services.tailnet,
        url: receiver.url(),
        provider_type: String::new(),
        subscriptions: vec!["categoryTailnetManagement".to_owned()],
    };
    webhooks.create_webhook(request).await.unwrap();
    let pre_auth_key = services.new_user_key(false).await;
    let node = services
        .register_node(RegisterRequest {
            machine_key: vec![3; 32],
            node_key: vec![4; 32],
            pre_auth_key,
            hostname: "web1".to_owned(),
            ..RegisterRequest::default()
        })
        .await;
    let (tailnet_id, node_id) = (services.tailnet, node.id);
    let mut nodes = NodeServiceClient::new(services.admin());
    let approve = ApproveNodeRequest {
        tailnet_id,
        node_id,
    };
    nodes.approve_node(approve).await.unwrap();
    let expire = ExpireNodeRequest {
        tailnet_id,
        node_id,
    };
    nodes.expire_node(expire).await.unwrap();
    let delete = DeleteNodeRequest {
        tailnet_id,
        node_id,
    };
    nodes.delete_node(delete).await.unwrap();
    let deliveries = receiver.wait_for(5).await;
    let kinds: Vec<_> = deliveries.iter().map(Delivery::kind).collect();
    let expected = [
        "nodeCreated",
        "nodeNeedsApproval",
        "nodeApproved",
        "nodeKeyExpired",
        "nodeDeleted",
    ];
    assert_eq!(kinds, expected);
    for delivery in &deliveries {
        assert_eq!(
            delivery.event()["data"]["deviceName"],
            "web1",
            "{delivery:?}"
        );
        assert_eq!(delivery.event()["data"]["nodeID"], node_id.to_string());
    }
    services.set_policy("{}").await;
    let policy = receiver.wait_for(6).await.remove(5);
    assert_eq!(policy.kind(), "policyUpdate");
    assert_eq!(policy.event()["data"]["newVersion"], 1);
}
