//! Clients join through real proxies, set up by the lines that operators are given.

use bowline_interop::{Client, Frontend, Release, Server, inside, wait_for};

use super::{MINUTE, SOON, hears_of};

/// Writes a certificate for the server's address, which clients are made to trust, and its key.
fn write_certificate(directory: &std::path::Path) -> String {
    let signed = rcgen::generate_simple_self_signed(vec!["10.77.0.1".to_owned()]).unwrap();
    let file = directory.join("certificate.pem");
    std::fs::write(&file, signed.cert.pem()).unwrap();
    std::fs::write(
        directory.join("key.pem"),
        signed.signing_key.serialize_pem(),
    )
    .unwrap();
    file.display().to_string()
}

/// Lets clients join through a proxy, hear of each other, and be seen with their own addresses.
fn serves_through(test: &str, frontend: Frontend, settings: &dyn Fn(&str) -> String) {
    let Some(hosts) = frontend.inside(test, 3) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let certificate = write_certificate(directory.path());
    let path = directory.path().display().to_string();
    let server = Server::start_behind("https://10.77.0.1:8443", &settings(&path)).unwrap();
    let _proxy = frontend.start(directory.path()).unwrap();
    let trusting = [("SSL_CERT_FILE", certificate.as_str())];
    let mut clients = hosts.into_iter().map(|host| {
        let client = Client::start(host, Release::Current, &trusting).unwrap();
        wait_for("the proxy answers", SOON, || {
            let address = "10.77.0.1:8443".parse().unwrap();
            std::net::TcpStream::connect_timeout(&address, super::SECOND)
                .map(drop)
                .map_err(|error| error.to_string())
        });
        client
    });
    let (one, two) = (clients.next().unwrap(), clients.next().unwrap());
    let key = server.key().unwrap();
    one.join(&server.url, &key, "c1").unwrap();
    two.join(&server.url, &key, "c2").unwrap();
    hears_of(&one, "c2", SOON);
    // By login: the long request that waits passes too, and the person sees where the device is.
    let three = clients.next().unwrap();
    let (address, _waiting) = three.begin_login(&server.url, "c3").unwrap();
    assert!(
        address.starts_with("https://10.77.0.1:8443/register/"),
        "{address}"
    );
    let pending = server.bowline(&["logins", "list"]).unwrap();
    assert_eq!(pending[0]["source_address"], *three.host.address);
    server
        .bowline(&["logins", "approve", &address, "--user", "owner@home"])
        .unwrap();
    three.wait_for_state("Running", MINUTE);
    // What changes reaches those who are connected, at once and not when a buffer is full.
    hears_of(&one, "c3", SOON);
    hears_of(&two, "c3", SOON);
}

fn behind_tls(_: &str) -> String {
    "tls = false\ntrusted_proxies = [\"127.0.0.1\"]".to_owned()
}

#[test]
fn clients_join_where_tls_ends_at_nginx() {
    let name = "proxies::clients_join_where_tls_ends_at_nginx";
    serves_through(name, Frontend::Nginx, &behind_tls);
}

#[test]
fn clients_join_where_tls_ends_at_haproxy() {
    let name = "proxies::clients_join_where_tls_ends_at_haproxy";
    serves_through(name, Frontend::Haproxy, &behind_tls);
}

#[test]
fn clients_join_where_haproxy_passes_tcp_on() {
    let name = "proxies::clients_join_where_haproxy_passes_tcp_on";
    serves_through(name, Frontend::HaproxyTcp, &|directory| {
        format!(
            "trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\n\
             certificate_file = \"{directory}/certificate.pem\"\nkey_file = \"{directory}/key.pem\""
        )
    });
}

/// Asks over plain TCP and returns the answer, if any.
fn asked(from: &str, bytes: &[u8]) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = connect_from(from);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A server that refuses may reset what it has not read.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Connects to the server from an address of this host.
fn connect_from(address: &str) -> std::net::TcpStream {
    let connecting = async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        let stream = socket.connect("127.0.0.1:8080".parse().unwrap()).await;
        stream.unwrap().into_std().unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let stream = runtime.unwrap().block_on(connecting);
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn proxy_headers_are_believed_of_proxies_only() {
    let name = "proxies::proxy_headers_are_believed_of_proxies_only";
    if inside(name, 0).is_none() {
        return;
    }
    let settings = "tls = false\ntrusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true";
    let _server = Server::start_behind("https://10.77.0.1:8443", settings).unwrap();
    let ask = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let header = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n";
    let with_header = format!("{header}{ask}");
    assert!(asked("127.0.0.1", with_header.as_bytes()).starts_with("HTTP/1.1 200"));
    assert!(
        asked("127.0.0.2", ask.as_bytes()).starts_with("HTTP/1.1 200"),
        "it is no proxy"
    );
    assert_eq!(
        asked("127.0.0.2", with_header.as_bytes()),
        "",
        "anybody can write a header"
    );
    assert_eq!(
        asked("127.0.0.1", ask.as_bytes()),
        "",
        "a proxy says whom it speaks for"
    );
    assert_eq!(
        asked("127.0.0.1", b"PROXY TCP4 "),
        "",
        "and does so within a second"
    );
}
