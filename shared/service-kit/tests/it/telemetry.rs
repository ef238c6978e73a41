//! The listener for metrics and health.

use std::time::Duration;

use bowline_service_kit::telemetry::{self, TelemetryConfig};
use bowline_service_kit::{Caller, GrpcChannel, ServiceName, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{call, gateways_only, routes};

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let telemetry = telemetry::init(&TelemetryConfig::default()).unwrap();
    assert!(telemetry::init(&TelemetryConfig::default()).is_err());
    let listener = telemetry::listen_for_probes("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    assert!(telemetry::listen_for_probes(address).is_err());
    let shutdown = Shutdown::new(Duration::from_secs(10));
    let serving = tokio::spawn(telemetry.clone().serve(listener, shutdown.clone()));
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
    telemetry.mark_ready();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    metrics::counter!("bowline_test_total").increment(3);
    metrics::histogram!("bowline_test_seconds").record(0.2);
    let gateway = GrpcChannel::in_process(routes(), Caller::Service(ServiceName::NetmapGateway));
    call(&gateway, gateways_only()).await.unwrap();
    call(&gateway, "/x.Y/Undeclared").await.unwrap_err();
    let page = get(address, "/metrics").await;
    let counted = format!(
        "bowline_rpc_seconds_count{{path=\"{}\",code=\"Ok\"}}",
        gateways_only()
    );
    assert!(
        page.contains(&counted) && !page.contains("Undeclared"),
        "{page}"
    );
    assert!(page.contains("bowline_rpc_refused_total"), "{page}");
    assert!(page.contains("bowline_test_total 3"), "{page}");
    assert!(
        page.contains("bowline_test_seconds_bucket{le=\"0.25\"} 1"),
        "{page}"
    );
    shutdown.drain();
    assert!(get(address, "/readyz").await.contains("draining"));
    shutdown.end();
    serving.await.unwrap().unwrap();
}
