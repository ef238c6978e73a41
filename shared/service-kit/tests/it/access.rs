//! Who may call what, however the call comes.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bowline_service_kit::{
    Authority, CALL_DENIED, Caller, GrpcChannel, ProcessVersion, SCHEMA_LEVEL, ServiceName,
    status_reason,
};
use tempfile::TempDir;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{
    Handle, call, channel, deployment, for_admins, gateways_only, routes, start_on, start_with,
    today,
};

#[tokio::test]
async fn a_call_in_process_carries_its_caller() {
    let gateway = GrpcChannel::in_process(routes(), Caller::Service(ServiceName::NetmapGateway));
    assert_eq!(
        call(&gateway, gateways_only()).await.unwrap(),
        "service:netmap-gateway"
    );
    let relay = GrpcChannel::in_process(routes(), Caller::Service(ServiceName::Relay));
    let refusal = call(&relay, gateways_only()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_call_over_tls_carries_its_caller() {
    let (authority, server) = deployment().await;
    let gateway = authority
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    let gateway = channel(server.address, &gateway);
    assert_eq!(
        call(&gateway, gateways_only()).await.unwrap(),
        "service:netmap-gateway"
    );
    let admin = channel(
        server.address,
        &authority.issue_admin("amira", today()).unwrap(),
    );
    assert_eq!(call(&admin, for_admins()).await.unwrap(), "admin:amira");
    let relay = authority
        .issue_service(ServiceName::Relay, today())
        .unwrap();
    for (certificates, path) in [
        (relay, gateways_only()),
        (
            authority.issue_admin("amira", today()).unwrap(),
            gateways_only(),
        ),
    ] {
        let refusal = call(&channel(server.address, &certificates), path)
            .await
            .unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied);
        assert_eq!(status_reason(&refusal).as_deref(), Some(CALL_DENIED));
    }
}

#[tokio::test]
async fn an_undeclared_rpc_is_refused() {
    let (authority, server) = deployment().await;
    let admin = channel(
        server.address,
        &authority.issue_admin("amira", today()).unwrap(),
    );
    for path in ["/bowline.identity.v1.UserService/Nothing", "/x.Y/Z", "/"] {
        assert_eq!(
            call(&admin, path).await.unwrap_err().code(),
            Code::PermissionDenied,
            "{path}"
        );
    }
}

#[tokio::test]
async fn any_proven_caller_may_ask_for_health() {
    let (authority, server) = deployment().await;
    let relay = authority
        .issue_service(ServiceName::Relay, today())
        .unwrap();
    let mut health = HealthClient::new(channel(server.address, &relay));
    let answer = health
        .check(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
}

#[tokio::test]
async fn the_socket_is_for_administrators_of_this_machine() {
    let (authority, _) = deployment().await;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("admin.sock");
    // What an ended process has left is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let certificates = authority
        .issue_service(ServiceName::KeyRegistry, today())
        .unwrap();
    let _server = start_on("127.0.0.1:0".parse().unwrap(), certificates, Some(&path)).await;
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let admin = GrpcChannel::admin_socket(&path);
    assert!(
        call(&admin, for_admins())
            .await
            .unwrap()
            .starts_with("admin:uid-")
    );
    let refusal = call(&admin, gateways_only()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_service_says_its_release_and_is_refused_below_the_level_in_use() {
    bowline_service_kit::install_crypto_provider();
    let authority = Authority::generate(today()).unwrap();
    let issue = |service| authority.issue_service(service, today()).unwrap();
    let handle = Arc::<Handle>::default();
    let (address, own) = (
        "127.0.0.1:0".parse().unwrap(),
        issue(ServiceName::KeyRegistry),
    );
    let server = start_with(Arc::clone(&handle), address, own, None).await;
    let gateway = channel(server.address, &issue(ServiceName::NetmapGateway));
    call(&gateway, gateways_only()).await.unwrap();
    let caller = (ServiceName::NetmapGateway, ProcessVersion::own());
    assert_eq!(handle.callers.take_callers(), [caller]);

    handle.callers.require_level(SCHEMA_LEVEL + 1);
    let refused = call(&gateway, gateways_only()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(status_reason(&refused).as_deref(), Some("SCHEMA_LEVEL"));
    // An administrator reads no log: any release of the command works.
    let admin = authority.issue_admin("amira", today()).unwrap();
    let admin = channel(server.address, &admin);
    call(&admin, for_admins()).await.unwrap();
}
