//! Calls find a replica that lives, and end in time.

use std::time::{Duration, Instant};

use bowline_service_kit::{Caller, GrpcChannel, ServiceName};
use tonic::{Code, Request};

use crate::support::{
    call, call_with, channel, deployment, gateways_only, routes, start_on, today,
};

#[tokio::test]
async fn a_call_goes_past_a_dead_replica() {
    let (authority, server) = deployment().await;
    let certificates = authority
        .issue_service(ServiceName::KeyRegistry, today())
        .unwrap();
    let other = start_on("127.0.0.1:0".parse().unwrap(), certificates.clone(), None).await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    let addresses = [server.address.to_string(), other.address.to_string()];
    let gateway = GrpcChannel::remote(ServiceName::KeyRegistry, &addresses, &gateway).unwrap();
    for _ in 0..4 {
        call(&gateway, gateways_only()).await.unwrap();
    }
    other.shutdown.end();
    other.task.await.unwrap();
    // The first call may meet the connection that just broke.
    drop(call(&gateway, gateways_only()).await);
    for _ in 0..20 {
        call(&gateway, gateways_only()).await.unwrap();
    }
    server.shutdown.end();
    server.task.await.unwrap();
    drop(call(&gateway, gateways_only()).await);
    let refusal = call(&gateway, gateways_only()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
    let _back = start_on(server.address, certificates, None).await;
    call(&gateway, gateways_only()).await.unwrap();
}

#[tokio::test]
async fn a_slow_answer_is_given_up_in_time() {
    let (authority, server) = deployment().await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    for channel in [
        channel(server.address, &gateway),
        GrpcChannel::in_process(routes(), Caller::Service(ServiceName::NetmapGateway)),
    ] {
        call(&channel, gateways_only()).await.unwrap();
        let mut request = Request::new(());
        request
            .metadata_mut()
            .insert("pause-ms", "60000".parse().unwrap());
        request.set_timeout(Duration::from_millis(100));
        let begin = Instant::now();
        let refusal = call_with(&channel, gateways_only(), request)
            .await
            .unwrap_err();
        assert!(
            matches!(
                refusal.code(),
                Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded
            ),
            "{refusal}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let (authority, _) = deployment().await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    for addresses in [vec![], vec!["a b:1".to_owned()]] {
        assert!(GrpcChannel::remote(ServiceName::KeyRegistry, &addresses, &gateway).is_err());
    }
}
