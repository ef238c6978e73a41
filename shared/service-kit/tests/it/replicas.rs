//! Calls find a replica that lives, and end in time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bowline_service_kit::{Caller, GrpcChannel, ServiceName};
use tokio::sync::watch;
use tonic::{Code, Request};

use crate::support::{
    Handle, call, call_with, channel, deployment, gateways_only, proxy, routes, start_on,
    start_with, today,
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
async fn a_replica_that_hangs_delays_one_call_and_is_used_again_once_it_answers() {
    let (authority, _) = deployment().await;
    let certificates = authority
        .issue_service(ServiceName::KeyRegistry, today())
        .unwrap();
    let free = "127.0.0.1:0".parse().unwrap();
    let [good, hanging] = [(); 2].map(|()| Arc::new(Handle::default()));
    let calls = |handle: &Handle| handle.calls.load(Ordering::Relaxed);
    let server = start_with(Arc::clone(&good), free, certificates.clone(), None).await;
    let other = start_with(Arc::clone(&hanging), free, certificates, None).await;
    let (open, is_open) = watch::channel(true);
    let between = proxy(other.address, is_open).await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    let addresses = [server.address.to_string(), between.to_string()];
    let gateway = GrpcChannel::remote(ServiceName::KeyRegistry, &addresses, &gateway).unwrap();
    for _ in 0..4 {
        call(&gateway, gateways_only()).await.unwrap();
    }
    assert_eq!((calls(&good), calls(&hanging)), (2, 2));

    open.send_replace(false);
    let mut refused = 0;
    for _ in 0..10 {
        let mut request = Request::new(());
        request.set_timeout(Duration::from_millis(300));
        if let Err(status) = call_with(&gateway, gateways_only(), request).await {
            assert_eq!(status.message(), "no answer in time");
            refused += 1;
        }
    }
    // Perhaps it was done all the same: the call that hung was sent to nobody else.
    assert_eq!((refused, calls(&good)), (1, 2 + 9));

    open.send_replace(true);
    let used_again = async {
        // The call that hung arrives now, if at all.
        while calls(&hanging) <= 2 + 1 {
            call(&gateway, gateways_only()).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), used_again)
        .await
        .expect("it is used again");
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
