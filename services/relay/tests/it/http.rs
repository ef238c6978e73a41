use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::client::{CLIENT_INFO, Client, public, sealed_info, secret};
use crate::server::{Server, limits, relay};

async fn silent(server: &Server) -> Client {
    Client::silent(TcpStream::connect(server.http).await.unwrap(), 1)
}

#[tokio::test]
async fn upgrade_names_the_protocol_and_the_key() {
    let server = Server::start().await;
    let mut client = silent(&server).await;
    client.write(crate::client::GET.as_bytes()).await;
    let head = client.head().await.to_ascii_lowercase();
    let key = server.relay.public_key().to_hex();
    for line in [
        "upgrade: derp",
        "connection: upgrade",
        "derp-version: 2",
        &format!("derp-public-key: {key}"),
    ] {
        assert!(
            head.lines().any(|found| found == line),
            "{line} is not in {head}"
        );
    }
}

#[tokio::test]
async fn upgrade_by_post_with_an_absolute_target_is_accepted() {
    let server = Server::start().await;
    let request = format!(
        "POST https://{0}/derp HTTP/1.1\r\nhost: {0}\r\nupgrade: DERP\r\nconnection: upgrade\r\n\r\n",
        server.http
    );
    let stream = TcpStream::connect(server.http).await.unwrap();
    let mut client = Client::upgrade(stream, 1, &request).await;
    let relay = client.greeting().await;
    client
        .introduce(
            relay,
            r#"{"can_ack_pings":false,"mesh_key":"none","version":2}"#,
        )
        .await;
    client.settle().await;
}

#[tokio::test]
async fn fast_start_gets_no_http_response_and_may_introduce_itself_at_once() {
    let server = Server::start().await;
    let mut client = silent(&server).await;
    let head = "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\
        Derp-Fast-Start: 1\r\n\r\n";
    let info = sealed_info(
        *server.relay.public_key().as_bytes(),
        &secret(1),
        r#"{"version":2}"#,
    );
    let len = u32::try_from(info.len()).unwrap().to_be_bytes();
    client
        .write(&[head.as_bytes(), &[CLIENT_INFO], &len, &info].concat())
        .await;
    client.greeting().await;
    assert_eq!(client.recv().await.0, crate::client::SERVER_INFO);
    client.settle().await;
}

#[tokio::test]
async fn request_without_an_upgrade_is_told_to_upgrade() {
    let server = Server::start().await;
    for request in [
        "GET /derp HTTP/1.1\r\nHost: relay\r\n\r\n",
        "GET /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "PUT /derp HTTP/1.1\r\nHost: relay\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n",
    ] {
        let mut client = silent(&server).await;
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    }
}

#[tokio::test]
async fn probes_are_answered_one_after_the_other_on_one_connection() {
    let server = Server::start().await;
    let mut client = silent(&server).await;
    for (method, path) in [
        ("GET", "/derp/probe"),
        ("HEAD", "/derp/latency-check"),
        ("GET", "/derp/latency-check"),
    ] {
        client
            .write(format!("{method} {path} HTTP/1.1\r\nHost: relay\r\n\r\n").as_bytes())
            .await;
        let head = client.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(
            head.contains("\r\naccess-control-allow-origin: *\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\ncontent-length: 0\r\n"), "{head}");
    }
    client
        .write(b"POST /derp/probe HTTP/1.1\r\nHost: relay\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn captive_portal_challenge_is_repeated_when_it_is_harmless() {
    let server = Server::start().await;
    let mut client = silent(&server).await;
    for (challenge, repeated) in [("ts_relay.example-1:2", true), ("<b>", false)] {
        let request = format!(
            "GET /generate_204 HTTP/1.1\r\nHost: r\r\nX-Tailscale-Challenge: {challenge}\r\n\r\n"
        );
        client.write(request.as_bytes()).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
        let answer = format!("x-tailscale-response: response {challenge}\r\n");
        assert_eq!(head.contains(&answer), repeated, "{head}");
    }
}

#[tokio::test]
async fn routes_mounted_on_another_server_reach_clients_of_the_relays_own() {
    let server = Server::start().await;
    let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mounted = gateway.local_addr().unwrap();
    let app = axum::Router::new()
        .merge(server.relay.router())
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(gateway, app).await });

    let mut alice = Client::connect(mounted, 1).await;
    let mut bob = Client::connect(server.http, 2).await;
    alice.send_packet(2, b"hello").await;
    assert_eq!(bob.recv_packet().await, (public(1), b"hello".to_vec()));

    server.relay.drain().await;
    let mut late = Client::silent(TcpStream::connect(mounted).await.unwrap(), 3);
    late.write(crate::client::GET.as_bytes()).await;
    assert!(late.head().await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn clients_connect_over_tls() {
    let signed = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![signed.cert.der().clone()],
            signed.signing_key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let relay = relay(crate::server::everyone(), limits());
    let server = Server::with(relay, Some(Arc::new(tls))).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let mut trust = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    trust.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(trust));

    let mut clients = Vec::new();
    for number in [1, 2] {
        let stream = TcpStream::connect(server.http).await.unwrap();
        let name = "relay.test".try_into().unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        clients.push(Client::join(stream, number, r#"{"version":2}"#).await);
    }
    clients[0].send_packet(2, b"over TLS").await;
    assert_eq!(
        clients[1].recv_packet().await,
        (public(1), b"over TLS".to_vec())
    );
    server.shut_down();
    assert_eq!(clients[0].recv().await.0, crate::client::RESTARTING);
}
