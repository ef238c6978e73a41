//! The front door: TCP and TLS before any request.

use std::{sync::Arc, time::Duration};

use bowline_clock::random_bytes;
use bowline_interop::{Host, Server, inside};
use bowline_keys::PrivateKey;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::{
    session::{ADDRESS, shake},
    upgrade::rest,
    witness::{TestServer, is_served},
};

/// How long the server waits for a client (its own word for it: ten seconds), and what a slow machine adds.
const PATIENCE: std::ops::Range<Duration> = Duration::from_secs(9)..Duration::from_secs(14);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends something, and returns what comes until the server closes, and when that is.
async fn outlasted(sent: Vec<u8>) -> (String, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
    stream.write_all(&sent).await.unwrap();
    let mut told = Vec::new();
    drop(stream.read_to_end(&mut told).await);
    (String::from_utf8_lossy(&told).into_owned(), start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_keep_the_server_waiting_are_let_go() {
    let name = "bad_input::front::clients_that_keep_the_server_waiting_are_let_go";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("plain_http_boxes = true").await;
    let quiet = [
        ("nothing", &b""[..]),
        ("half a method", b"GE"),
        ("half a head", b"GET /key HTTP/1.1\r\nHost: x\r\nA: "),
        ("half of HTTP/2", &PREFACE[..10]),
        ("HTTP/2 without a request", PREFACE),
    ]
    .map(|(what, sent)| (what, tokio::spawn(outlasted(sent.to_vec()))));
    let kept = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let kept = tokio::spawn(outlasted(kept.to_vec()));
    let slow = format!(
        "POST /machine/{} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        "5a".repeat(32)
    );
    let slow = tokio::spawn(outlasted(slow.into_bytes()));
    let control = test_server.control;
    let shaken = tokio::spawn(async move {
        let start = Instant::now();
        let machine = PrivateKey::from_random(random_bytes());
        let mut stream = shake(&machine, control).await;
        stream.write_all(PREFACE).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream.read_to_end(&mut Vec::new()).await);
        start.elapsed()
    });
    for (what, waited) in quiet {
        let (_, waited) = waited.await.unwrap();
        assert!(PATIENCE.contains(&waited), "{what}: {waited:?}");
    }
    let (answer, waited) = kept.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && waited < PATIENCE.end,
        "{waited:?}"
    );
    let waited = shaken.await.unwrap();
    assert!(
        PATIENCE.contains(&waited),
        "a handshake and nothing else: {waited:?}"
    );
    let (answer, _) = slow.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("15 seconds"),
        "{answer}"
    );
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_known_node_are_bounded_for_each_source() {
    let name = "bad_input::front::connections_without_a_known_node_are_bounded_for_each_source";
    if inside(name, 0).is_none() {
        return;
    }
    // One source has 16 of them.
    let mut test_server = TestServer::start("max_connections = 64").await;
    let mut strangers = Vec::new();
    for _ in 0..40 {
        strangers.push(TcpStream::connect(ADDRESS).await.unwrap());
    }
    // A handshake proves a key, and keys cost nothing.
    let mut shaken = Vec::new();
    for _ in 0..4 {
        let machine = PrivateKey::from_random(random_bytes());
        shaken.push(shake(&machine, test_server.control).await);
    }
    // The oldest have made room.
    for stranger in &mut strangers[..24] {
        assert!(rest(stranger).await.is_empty());
    }
    assert!(is_served());
    test_server.assert_undisturbed().await;
}

/// Connects over TLS, naming the server and the protocols.
async fn secured(
    config: &ClientConfig,
    name: &str,
    protocols: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config = config.clone();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(ADDRESS).await?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// A greeting of TLS 1.1 at most, as a client of that age sends it.
fn old_greeting() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // A suite of today: only the version is too old.
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let message = [&[1, 0, 0, length][..], &hello].concat();
    [&[0x16, 3, 1, 0, length + 4][..], &message].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_tls_is_told_so_or_refused() {
    let name = "bad_input::front::what_is_no_tls_is_told_so_or_refused";
    if inside(name, 0).is_none() {
        return;
    }
    let server = Server::start_tls(Host::here()).unwrap();
    let authority = CertificateDer::from_pem_file(server.authority()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A session that is open meanwhile.
    let mut witness = secured(&config, "10.77.0.1", &[]).await.unwrap();

    for plain in [
        "GET /key?v=130 HTTP/1.1\r\nHost: x\r\n\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    ] {
        let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
        stream.write_all(plain.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let told = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(
            told.starts_with("HTTP/1.1 400") && told.contains("https"),
            "{told:?}"
        );
    }
    let oversized = [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat();
    let endless = [
        &[0x16, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff][..],
        &[0; 70_000],
    ]
    .concat();
    for (what, sent, alert) in [
        ("zeros", vec![0; 100], false),
        ("a record too long", oversized, false),
        ("an endless greeting", endless, false),
        ("an old version", old_greeting(), true),
        ("data before a greeting", vec![0x17, 3, 3, 0, 1, 0], false),
        (
            "an empty record",
            vec![0x16, 3, 1, 0, 0, 0x16, 3, 1, 0, 0],
            false,
        ),
        ("PROXY version 2", b"\r\n\r\n\0\r\nQUIT\n".to_vec(), false),
    ] {
        let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
        drop(stream.write_all(&sent).await);
        drop(stream.shutdown().await);
        let told = rest(&mut stream).await;
        assert!(told.len() <= 7, "{what}: {told:?}");
        let is_alert = told.first() == Some(&0x15);
        assert!(is_alert || !alert, "{what}: {told:?}");
    }
    let request = b"GET /key?v=130 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    witness.write_all(request).await.unwrap();
    let mut told = String::new();
    drop(witness.read_to_string(&mut told).await);
    assert!(told.contains("publicKey"), "undisturbed: {told}");

    // Half a greeting holds its connection for ten seconds at most.
    let (_, waited) = outlasted(old_greeting()[..20].to_vec()).await;
    assert!(PATIENCE.contains(&waited), "{waited:?}");

    assert!(secured(&config, "10.77.0.1", &["h2"]).await.is_ok());
    assert!(secured(&config, "10.77.0.1", &["spdy"]).await.is_err());
    let error = secured(&config, "other.example", &[]).await.unwrap_err();
    assert!(
        error.to_string().contains("certificate"),
        "the client finds out: {error}"
    );
    let nobody = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    assert!(secured(&nobody, "10.77.0.1", &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_plain_port_is_refused_at_once() {
    let name = "bad_input::front::tls_to_a_plain_port_is_refused_at_once";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let start = Instant::now();
    assert!(secured(&config, "10.77.0.1", &[]).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(3));
    test_server.assert_undisturbed().await;
}
