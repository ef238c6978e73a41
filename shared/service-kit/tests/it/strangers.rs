//! Whoever shows no certificate keeps nobody out.

use std::time::Duration;

use bowline_service_kit::ServiceName;
use tokio::net::TcpStream;

use crate::support::{call, channel, deployment, gateways_only, today};

#[tokio::test]
async fn silent_connections_make_room_for_services() {
    bowline_service_kit::descriptors::raise_limit();
    let (authority, server) = deployment().await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    let known = channel(server.address, &gateway);
    call(&known, gateways_only()).await.unwrap();
    // More than all slots.
    let mut silent = Vec::new();
    for _ in 0..1100 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    call(&known, gateways_only()).await.unwrap();
    let newcomer = channel(server.address, &gateway);
    let answered = tokio::time::timeout(Duration::from_secs(10), call(&newcomer, gateways_only()));
    answered.await.unwrap().unwrap();
}
