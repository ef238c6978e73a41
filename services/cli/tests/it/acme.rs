//! Certificates that the server orders by itself.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_test_servers::{PebbleOptions, PebbleServer};
use bytes::Bytes;
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::bowline::{SOON, TestInstallation, command};

const QUARTER: u64 = 90 * 24 * 3600;

/// An authority, and the port at which it looks.
struct TestAuthority {
    pebble: PebbleServer,
    port: u16,
}

impl TestAuthority {
    fn start(validity_seconds: u64) -> Option<Self> {
        bowline_service_kit::install_crypto_provider();
        let port = PebbleServer::free_port().unwrap();
        let pebble = PebbleServer::start(PebbleOptions {
            tls_port: port,
            http_port: port,
            validity_seconds,
        });
        Some(Self {
            pebble: pebble.unwrap()?,
            port,
        })
    }

    /// Returns what signs what the authority issues.
    async fn roots(&self) -> RootCertStore {
        let own = std::fs::read(self.pebble.ca_file()).unwrap();
        let request = Request::get(self.pebble.root_url()).body(Bytes::new());
        let client = trusting(read_root(&own));
        let root = client.send(request.unwrap()).await.unwrap();
        read_root(root.body())
    }

    /// Returns a client that trusts what the authority issues, and nothing else.
    async fn client(&self) -> HttpClient {
        trusting(self.roots().await)
    }

    /// Lets an installation order here, and relay at a port.
    fn set(&self, installation: &TestInstallation, relay_port: u16) {
        let (pebble, port) = (&self.pebble, self.port);
        let settings = format!(
            "drain_seconds = 1\n\
             [gateway]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"https://localhost:{port}\"\n\
             [gateway.acme]\nagree_to_terms = true\ndirectory_url = \"{}\"\ndirectory_ca_file = \"{}\"\n\
             [relay]\nlisten = \"127.0.0.1:{relay_port}\"\nstun_listen = \"127.0.0.1:0\"\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"off\"\n",
            pebble.directory_url(),
            pebble.ca_file().display(),
        );
        std::fs::write(installation.path("bowline.toml"), settings).unwrap();
    }
}

fn read_root(text: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(text).unwrap();
    roots.add(root).unwrap();
    roots
}

fn trusting(roots: RootCertStore) -> HttpClient {
    let limits = AnswerLimits {
        longest_body: 1 << 20,
        deadline: Duration::from_secs(10),
    };
    HttpClient::trusting(roots, Destinations::Anywhere, limits)
}

/// Asks until there is an answer by a certificate that the client trusts; returns its status.
async fn status(client: &HttpClient, port: u16, path: &str) -> u16 {
    let deadline = Instant::now() + SOON;
    loop {
        let request = Request::get(format!("https://localhost:{port}{path}")).body(Bytes::new());
        match client.send(request.unwrap()).await {
            Ok(answer) => return answer.status().as_u16(),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn server_shows_a_certificate_that_it_ordered_and_keeps_it_over_a_restart() {
    let Some(authority) = TestAuthority::start(QUARTER) else {
        return;
    };
    let installation = TestInstallation::new();
    let (pebble, port) = (&authority.pebble, authority.port);
    let relay_port = PebbleServer::free_port().unwrap();
    authority.set(&installation, relay_port);
    let served = installation.serve().await;
    assert!(
        !served.greeting.contains("SSL_CERT_FILE"),
        "{}",
        served.greeting
    );
    let client = authority.client().await;
    assert_eq!(status(&client, port, "/key?v=100").await, 200);
    assert_eq!(status(&client, relay_port, "/generate_204").await, 204);
    served.kill().await;

    let _served = installation.serve().await;
    let client = authority.client().await;
    assert_eq!(status(&client, port, "/key?v=100").await, 200);
    assert_eq!(pebble.count_orders().unwrap(), 1);
}

/// Connects until there is a certificate, and returns it with the connection.
async fn connect(
    connector: &TlsConnector,
    port: u16,
) -> (TlsStream<TcpStream>, CertificateDer<'static>) {
    let deadline = Instant::now() + SOON;
    loop {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let host = ServerName::try_from("localhost").unwrap();
        if let Ok(stream) = connector.connect(host, stream.unwrap()).await {
            let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            return (stream, shown.into_owned());
        }
        assert!(Instant::now() < deadline, "there is no certificate");
        tokio::task::yield_now().await;
    }
}

/// Asks on a connection that stays open.
async fn ask_on(stream: &mut TlsStream<TcpStream>) {
    let request = b"GET /key?v=100 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    while !answer.trim_end().ends_with('}') {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "it was closed after {answer}");
        answer += std::str::from_utf8(&part[..length]).unwrap();
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn certificate_is_renewed_while_a_connection_stays_open() {
    let Some(authority) = TestAuthority::start(15) else {
        return;
    };
    let installation = TestInstallation::new();
    authority.set(&installation, PebbleServer::free_port().unwrap());
    let _served = installation.serve().await;
    let config = ClientConfig::builder()
        .with_root_certificates(authority.roots().await)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let (mut stream, first) = connect(&connector, authority.port).await;
    let deadline = Instant::now() + SOON;
    // A connection on which nothing is asked for ten seconds is closed, so this one is used; but not above the limit of requests.
    loop {
        ask_on(&mut stream).await;
        if connect(&connector, authority.port).await.1 != first {
            break;
        }
        assert!(Instant::now() < deadline, "there is no other certificate");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ask_on(&mut stream).await;
}

#[tokio::test]
async fn relay_by_itself_orders_its_own_certificate() {
    let Some(authority) = TestAuthority::start(QUARTER) else {
        return;
    };
    let installation = TestInstallation::new();
    let certificates = installation.path("certificates");
    let directory = certificates.to_str().unwrap();
    installation
        .json(&["certificates", "create", directory])
        .await;
    let (pebble, map) = (&authority.pebble, installation.path("derp.json"));
    let port = authority.port;
    let mut command = command(installation.directory());
    command
        .args(["relay", "--host", "localhost", "--listen"])
        .arg(format!("127.0.0.1:{port}"))
        .args(["--stun-listen", "127.0.0.1:0"])
        .args(["--telemetry-listen", "127.0.0.1:0"])
        .args(["--key-registry", "127.0.0.1:1", "--identity", "127.0.0.1:1"])
        .arg("--ca")
        .arg(certificates.join("ca.pem"))
        .arg("--cert")
        .arg(certificates.join("relay.pem"))
        .arg("--key")
        .arg(certificates.join("relay.key"))
        .arg("--map")
        .arg(&map)
        .args(["--acme-agree-to-terms", "--acme-directory-url"])
        .arg(pebble.directory_url())
        .arg("--acme-directory-ca-file")
        .arg(pebble.ca_file());
    let _relay = command.spawn().unwrap();
    let client = authority.client().await;
    assert_eq!(status(&client, port, "/generate_204").await, 204);
    let map: serde_json::Value = serde_json::from_slice(&std::fs::read(map).unwrap()).unwrap();
    let node = &map["Regions"]["2695"]["Nodes"][0];
    assert_eq!(node["CertName"].as_str().unwrap_or_default(), "", "{node}");
    assert!(
        !node["InsecureForTests"].as_bool().unwrap_or_default(),
        "{node}"
    );
}

#[tokio::test]
async fn settings_that_can_bring_no_certificate_are_refused_before_anything_is_ordered() {
    let installation = TestInstallation::new();
    installation.set(
        "127.0.0.1:0",
        "127.0.0.1:0",
        "acme = { agree_to_terms = true, hosts = [\"*.example.com\"] }",
    );
    let refused = installation.bowline(&["serve"]).await;
    refused.failed(1, "prove single names only");
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let settings = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://localhost\"\n\
         [gateway.acme]\nagree_to_terms = true\ndirectory_url = \"https://127.0.0.1:1/\"\n\
         http_listen = \"127.0.0.1:{port}\"\n\
         [relay]\nenabled = false\n[telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"off\"\n"
    );
    std::fs::write(installation.path("bowline.toml"), settings).unwrap();
    let refused = installation.bowline(&["serve"]).await;
    refused.failed(1, "acme.http_listen: can not listen on");
}
