use std::time::{Duration, Instant};

use bowline_service_kit::{Authority, ServiceName, install_crypto_provider};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::*;

/// Shakes hands with the acceptor and returns the certificate a client sees.
async fn seen(acceptor: &TlsAcceptor, authority: &Path) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(ServiceName::NetmapGateway.host_name()).unwrap();
    let (near, far) = tokio::io::duplex(1 << 14);
    let connector = TlsConnector::from(Arc::new(config));
    let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    server.unwrap();
    let client = client.unwrap();
    let chain = client.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

#[tokio::test]
async fn certificate_is_read_again_when_its_files_change_and_a_bad_one_changes_nothing() {
    install_crypto_provider();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let today = chrono::Utc::now().date_naive();
    let authority = Authority::generate(today).unwrap();
    let issue = || {
        let issued = authority.issue_service(ServiceName::NetmapGateway, today);
        issued.unwrap().save(place, "own").unwrap()
    };
    let files = issue();
    let acceptor = build_acceptor(&files.certificate, &files.key).unwrap();
    let first = seen(&acceptor, &files.authority).await;
    assert_eq!(seen(&acceptor, &files.authority).await, first);

    // A certificate without its key, as between two writes.
    let key = std::fs::read(&files.key).unwrap();
    issue();
    let next = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, key).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let half = Instant::now() + Duration::from_secs(6);
    while Instant::now() < half {
        assert_eq!(seen(&acceptor, &files.authority).await, first);
        tokio::task::yield_now().await;
    }
    std::fs::write(&files.key, next).unwrap();
    while seen(&acceptor, &files.authority).await == first {
        assert!(Instant::now() < deadline, "it is not read again");
        tokio::task::yield_now().await;
    }
}
