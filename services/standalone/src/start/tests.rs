//! What the gateway answers to outside relays, with the real registry and identity behind it.

use axum::Router;
use std::{net::SocketAddr, time::Duration};

use bowline_netmap_gateway::GatewayConfig;
use bowline_proto::key_registry::v1::{ExpireNodeRequest, node_service_client::NodeServiceClient};
use bowline_service_kit::{GrpcChannel, config::Secret};
use bowline_test_support::{TestServices, unreachable_channel};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;
use crate::test_nodes::{register, start_services};

/// Starts a gateway that asks this identity.
async fn gateway(services: &TestServices, identity: GrpcChannel) -> SocketAddr {
    let channel = services.service(ServiceName::NetmapGateway);
    let directory = tempfile::tempdir().unwrap();
    let control_keys = directory.path().join("control-keys");
    ControlKeys::create(&control_keys).unwrap();
    let config = GatewayConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        public_url: "http://127.0.0.1".to_owned(),
        verify_token: Some(Secret::new("a-token-of-more-than-16-bytes".to_owned())),
        control_keys: Some(control_keys),
        ..GatewayConfig::default()
    };
    let given = Dependencies {
        backends: Backends {
            identity_for_waits: identity.clone(),
            identity,
            registry: channel.clone(),
            compiler: channel,
        },
        bus: Bus::in_process(),
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(Shutdown::new(Duration::from_secs(1))),
        derp_map: DerpMap::default(),
        more_routes: Router::new(),
        admin_listen: None,
    };
    let started = bowline_netmap_gateway::start(config, given).await;
    started.unwrap().address
}

/// Posts a body and returns the status and the text of the answer.
async fn post(gateway: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A body that is refused may be cut off.
    drop(stream.write_all(body.as_bytes()).await);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text.to_owned())
}

async fn verify(gateway: SocketAddr, number: u8) -> String {
    let key = hex::encode([number; 32]);
    let body = format!(r#"{{"NodePublic":"nodekey:{key}","Source":"192.0.2.1"}}"#);
    let (status, text) = post(gateway, "/verify/a-token-of-more-than-16-bytes", &body).await;
    assert_eq!(status, 200, "{text}");
    text
}

const YES: &str = r#"{"Allow":true}"#;
const NO: &str = r#"{"Allow":false}"#;

#[tokio::test]
async fn outside_relays_may_serve_nodes_whose_key_is_good_and_whose_user_is_not_suspended() {
    let services = start_services().await;
    let user = services.user.clone();
    let node = register(&services, &user, 1, &[]).await;
    let gateway = gateway(&services, services.service(ServiceName::NetmapGateway)).await;
    assert_eq!(verify(gateway, 1).await, YES);
    assert_eq!(verify(gateway, 2).await, NO);

    services.set_suspended(&user, true).await;
    assert_eq!(verify(gateway, 1).await, NO);
    services.set_suspended(&user, false).await;
    assert_eq!(verify(gateway, 1).await, YES);

    let request = ExpireNodeRequest {
        tailnet_id: user.tailnet_id,
        node_id: node.id,
    };
    NodeServiceClient::new(services.admin())
        .expire_node(request)
        .await
        .unwrap();
    assert_eq!(verify(gateway, 1).await, NO);
}

#[tokio::test]
async fn while_identity_is_away_the_registry_s_word_counts() {
    let services = start_services().await;
    let user = services.user.clone();
    register(&services, &user, 1, &[]).await;
    let gateway = gateway(&services, unreachable_channel()).await;
    assert_eq!(verify(gateway, 1).await, YES);
    assert_eq!(verify(gateway, 2).await, NO);
}

#[tokio::test]
async fn questions_of_outside_relays_are_short() {
    let services = start_services().await;
    let gateway = gateway(&services, unreachable_channel()).await;
    let (status, _) = post(
        gateway,
        "/verify/a-token-of-more-than-16-bytes",
        &" ".repeat(4096),
    )
    .await;
    assert_eq!(status, 400);
    let (status, text) = post(
        gateway,
        "/verify/a-token-of-more-than-16-bytes",
        &" ".repeat(4097),
    )
    .await;
    assert_eq!((status, &*text), (413, "the body is longer than 4 KiB\n"));
    let (status, _) = post(gateway, "/verify/other", "{}").await;
    assert_eq!(status, 404);
}
