//! A server that drains finishes what it has begun.

use std::time::Duration;

use bowline_service_kit::ServiceName;
use tonic::Request;

use crate::support::{call, call_with, channel, deployment, gateways_only, today};

#[tokio::test]
async fn a_call_under_way_is_answered_while_draining() {
    let (authority, server) = deployment().await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    let gateway = channel(server.address, &gateway);
    call(&gateway, gateways_only()).await.unwrap();
    let mut request = Request::new(());
    request
        .metadata_mut()
        .insert("pause-ms", "300".parse().unwrap());
    let under_way = tokio::spawn({
        let gateway = gateway.clone();
        async move { call_with(&gateway, gateways_only(), request).await }
    });
    // On the same connection: once it is answered, the one before has arrived.
    call(&gateway, gateways_only()).await.unwrap();
    server.shutdown.drain();
    assert_eq!(under_way.await.unwrap().unwrap(), "service:netmap-gateway");
    tokio::time::timeout(Duration::from_secs(10), server.task)
        .await
        .unwrap()
        .unwrap();
}
