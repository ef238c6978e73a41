//! What the certificates keep out.

use std::os::unix::fs::PermissionsExt;

use bowline_service_kit::{Authority, Certificates, IssueError, ServiceName};
use chrono::{Days, NaiveDate};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{call, channel, deployment, for_admins, gateways_only, start, today};

#[tokio::test]
async fn another_deployment_s_certificate_is_refused() {
    let (_, server) = deployment().await;
    let other = Authority::generate(today()).unwrap();
    let gateway = other
        .issue_service(ServiceName::NetmapGateway, today())
        .unwrap();
    let refusal = call(&channel(server.address, &gateway), gateways_only())
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable);
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let (authority, server) = deployment().await;
    let old = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap();
    for day in [old, today() + Days::new(10)] {
        let gateway = authority
            .issue_service(ServiceName::NetmapGateway, day)
            .unwrap();
        let refusal = call(&channel(server.address, &gateway), gateways_only())
            .await
            .unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let (authority, server) = deployment().await;
    let directory = TempDir::new().unwrap();
    authority.save(directory.path()).unwrap();
    let authority = std::fs::read(directory.path().join("ca.pem")).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(ServiceName::KeyRegistry.host());
    let endpoint = Channel::from_shared(format!("https://{}", server.address)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    assert!(
        HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn one_service_can_not_pose_as_another() {
    let (authority, _) = deployment().await;
    for impostor in [
        authority
            .issue_service(ServiceName::Relay, today())
            .unwrap(),
        authority
            .issue_admin("key-registry.bowline.internal", today())
            .unwrap(),
    ] {
        let server = start(impostor).await;
        let gateway = authority
            .issue_service(ServiceName::NetmapGateway, today())
            .unwrap();
        let refusal = call(&channel(server.address, &gateway), gateways_only())
            .await
            .unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn certificates_survive_their_files() {
    let (authority, server) = deployment().await;
    let directory = TempDir::new().unwrap();
    authority.save(directory.path()).unwrap();
    let authority = Authority::load(directory.path()).unwrap();
    let admin = authority.issue_admin("amira", today()).unwrap();
    let files = admin.save(directory.path(), "amira").unwrap();
    for key in ["ca.key", "amira.key"] {
        let mode = std::fs::metadata(directory.path().join(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let admin = Certificates::load(&files).unwrap();
    assert!(!format!("{admin:?}").contains("PRIVATE"));
    assert_eq!(
        call(&channel(server.address, &admin), for_admins())
            .await
            .unwrap(),
        "admin:amira"
    );
}

#[test]
fn an_administrator_s_name_fits_into_logs() {
    let authority = Authority::generate(today()).unwrap();
    for name in ["", "a b", "a/b", "\n", &"a".repeat(65)] {
        let refusal = authority.issue_admin(name, today());
        assert!(matches!(refusal, Err(IssueError::AdminName(_))), "{name}");
    }
}
