//! What the certificates keep out.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bowline_service_kit::{
    Authority, Caller, CertificateFiles, Certificates, GrpcChannel, IssueError, ServiceName,
};
use chrono::{Days, NaiveDate};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{
    call, channel, deployment, for_admins, gateways_only, start, start_on, today,
};

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
    let authority = authority.for_days(5).unwrap();
    for day in [old, today() - Days::new(6), today() + Days::new(10)] {
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
        .domain_name(ServiceName::KeyRegistry.host_name());
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
    // A file that is there and open to others is not written as it is.
    let key = directory.path().join("amira.key");
    std::fs::write(&key, "").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
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

/// Calls until the answer is as it should be.
async fn wait_for(channel: &GrpcChannel, path: &'static str, answers: bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while call(channel, path).await.is_ok() != answers {
        assert!(Instant::now() < deadline, "not within a minute: {answers}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Issues certificates of a service or an administrator into a directory.
fn issue(authority: &Authority, caller: &Caller, directory: &Path, name: &str) -> CertificateFiles {
    let issued = match caller {
        Caller::Service(service) => authority.issue_service(*service, today()),
        Caller::Admin { name } => authority.issue_admin(name, today()),
        Caller::Token(_) => unreachable!("who calls by a token has no certificate"),
    };
    issued.unwrap().save(directory, name).unwrap()
}

fn admin(name: &str) -> Caller {
    let name = name.to_owned();
    Caller::Admin { name }
}

#[tokio::test]
async fn another_authority_is_taken_on_both_sides_without_a_restart() {
    bowline_service_kit::install_crypto_provider();
    let (place, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let own = Caller::Service(ServiceName::KeyRegistry);
    let first = Authority::generate(today()).unwrap();
    let files = issue(&first, &own, place.path(), "own");
    let caller = issue(&first, &admin("amira"), elsewhere.path(), "amira");
    let server = start(Certificates::load(&files).unwrap()).await;
    let held = channel(server.address, &Certificates::load(&caller).unwrap());
    assert!(call(&held, for_admins()).await.is_ok());

    // Everything is replaced: new connections go by the new authority only.
    let second = Authority::generate(today()).unwrap();
    issue(&second, &own, place.path(), "own");
    let stranger = channel(
        server.address,
        &first.issue_admin("amira", today()).unwrap(),
    );
    let friend = || {
        let issued = second.issue_admin("amira", today()).unwrap();
        channel(server.address, &issued)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while call(&friend(), for_admins()).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the server goes on with the old files"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(call(&stranger, for_admins()).await.is_err());
    assert!(
        call(&held, for_admins()).await.is_ok(),
        "what is connected stays"
    );

    // The client's next connection goes by its own new files.
    issue(&second, &admin("amira"), elsewhere.path(), "amira");
    server.shutdown.end();
    server.task.await.unwrap();
    let again = Certificates::load(&files).unwrap();
    let _server = start_on(server.address, again, None).await;
    wait_for(&held, for_admins(), true).await;
}

#[tokio::test]
async fn denied_certificate_is_cut_off_at_once_and_others_go_on() {
    bowline_service_kit::install_crypto_provider();
    let place = TempDir::new().unwrap();
    let authority = Authority::generate(today()).unwrap();
    let denied = place.path().join("denied");
    std::fs::write(&denied, "").unwrap();
    let own = Caller::Service(ServiceName::KeyRegistry);
    let files = CertificateFiles {
        denied: Some(denied.clone()),
        ..issue(&authority, &own, place.path(), "own")
    };
    let server = start(Certificates::load(&files).unwrap()).await;
    let connect = |name: &str| {
        let issued = authority.issue_admin(name, today()).unwrap();
        channel(server.address, &issued)
    };
    let (amira, noor) = (connect("amira"), connect("noor"));
    for held in [&amira, &noor] {
        assert!(call(held, for_admins()).await.is_ok());
    }
    std::fs::write(&denied, "admin:amira # left\n").unwrap();
    wait_for(&amira, for_admins(), false).await;
    assert!(call(&connect("amira"), for_admins()).await.is_err());
    assert!(call(&noor, for_admins()).await.is_ok());

    // A list that can not be read lets nobody in again.
    std::fs::write(&denied, "nonsense!\n").unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        assert!(call(&connect("amira"), for_admins()).await.is_err());
    }
    assert!(Certificates::load(&files).is_err());
    std::fs::write(&denied, "service:relay\n").unwrap();
    wait_for(&amira, for_admins(), true).await;
}

#[tokio::test]
async fn server_whose_certificate_is_denied_is_left_by_its_clients() {
    let (authority, server) = deployment().await;
    let place = TempDir::new().unwrap();
    let denied = place.path().join("denied");
    std::fs::write(&denied, "").unwrap();
    let files = CertificateFiles {
        denied: Some(denied.clone()),
        ..issue(&authority, &admin("amira"), place.path(), "amira")
    };
    let amira = channel(server.address, &Certificates::load(&files).unwrap());
    assert!(call(&amira, for_admins()).await.is_ok());
    std::fs::write(&denied, "service:key-registry\n").unwrap();
    wait_for(&amira, for_admins(), false).await;
    std::fs::write(&denied, "").unwrap();
    wait_for(&amira, for_admins(), true).await;
}

#[test]
fn certificates_are_renewed_for_whom_they_were_issued() {
    let place = TempDir::new().unwrap();
    let authority = Authority::generate(today()).unwrap();
    let files = issue(&authority, &admin("amira"), place.path(), "amira");
    let text = std::fs::read_to_string(&files.certificate).unwrap();
    let (caller, renewed) = authority.renew_certificate(&text, today()).unwrap();
    assert_eq!(caller, admin("amira"));
    renewed.save(place.path(), "amira").unwrap();
    assert_ne!(std::fs::read_to_string(&files.certificate).unwrap(), text);
    assert!(Certificates::load(&files).is_ok());
    let authority_text = std::fs::read_to_string(&files.authority).unwrap();
    assert!(
        authority
            .renew_certificate(&authority_text, today())
            .is_err()
    );
    for days in [0, 3651] {
        let authority = Authority::load(place.path());
        assert!(authority.is_err(), "no key of the authority is here");
        let authority = Authority::generate(today()).unwrap();
        assert!(matches!(authority.for_days(days), Err(IssueError::Days(_))));
    }
}
