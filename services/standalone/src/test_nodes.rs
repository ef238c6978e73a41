//! Nodes for tests.

use bowline_proto::{
    identity::v1::User,
    key_registry::v1::{Node, PreAuthKey, RegisterRequest},
};
use bowline_test_support::{TestDatabase, TestServices};

/// Starts the owners on SQLite.
pub(crate) async fn start_services() -> TestServices {
    TestServices::start(TestDatabase::sqlite().unwrap()).await
}

/// Registers a node of a user that asks for tags; its keys are `number` repeated.
pub(crate) async fn register(
    services: &TestServices,
    user: &User,
    number: u8,
    tags: &[String],
) -> Node {
    let key = PreAuthKey {
        tailnet_id: user.tailnet_id,
        user_id: user.id,
        ..PreAuthKey::default()
    };
    let request = RegisterRequest {
        machine_key: vec![number; 32],
        node_key: vec![number; 32],
        pre_auth_key: services.new_key(key).await,
        requested_tags: tags.to_vec(),
        ..RegisterRequest::default()
    };
    services.register_node(request).await
}
