//! `/key` and the upgrade: requests that are no handshake, and handshakes that prove nothing.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_control_noise::Initiator;
use bowline_interop::inside;
use bowline_keys::PrivateKey;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{
    session::{ADDRESS, upgrade},
    witness::TestServer,
};
use crate::http::send;

/// Sends the head of a request and returns the status and the text answered.
fn head(text: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(ADDRESS).unwrap();
    let (status, body) = send(&mut stream, format!("{text}\r\n\r\n").as_bytes());
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Returns what a server tells a client whose handshake it refuses, to the end of the connection.
async fn refusal(initiation: &[u8]) -> String {
    let (status, mut stream) = upgrade(initiation).await;
    assert_eq!(
        status, 101,
        "the upgrade is granted, the handshake refused in it"
    );
    let frame = rest(&mut stream).await;
    assert_eq!(frame[0], 3, "{frame:?}");
    let length = usize::from(u16::from_be_bytes([frame[1], frame[2]]));
    assert_eq!(frame.len(), 3 + length);
    String::from_utf8(frame[3..].to_vec()).unwrap()
}

/// Reads to the end of the connection, which has to come soon.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    let ended = tokio::time::timeout(Duration::from_secs(3), reading).await;
    // A reset is an end too.
    drop(ended.expect("the server closes the connection"));
    rest
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_no_handshake_are_told_so() {
    let name = "bad_input::upgrade::requests_that_are_no_handshake_are_told_so";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let close = "Host: x\r\nConnection: close";
    let asks = "Host: x\r\nConnection: upgrade\r\nUpgrade: tailscale-control-protocol";
    let socket = "Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let long = "a".repeat(40_000);
    let many = "A: b\r\n".repeat(200);
    for (request, status, says) in [
        (format!("GET /key?v=abc HTTP/1.1\r\n{close}"), 400, "number"),
        (format!("GET /key?v= HTTP/1.1\r\n{close}"), 400, "number"),
        (
            format!("GET /key?v=%2B130 HTTP/1.1\r\n{close}"),
            400,
            "number",
        ),
        (format!("GET /key?v=-1 HTTP/1.1\r\n{close}"), 400, "number"),
        (
            format!("GET /key?v=65536 HTTP/1.1\r\n{close}"),
            400,
            "number",
        ),
        (format!("GET /key?v=%00 HTTP/1.1\r\n{close}"), 400, "number"),
        (format!("GET /key?v=%ff HTTP/1.1\r\n{close}"), 400, "number"),
        (
            format!("GET /key?v=1&v=2 HTTP/1.1\r\n{close}"),
            400,
            "duplicate",
        ),
        (format!("DELETE /key HTTP/1.1\r\n{close}"), 405, "method"),
        (format!("POST /ts2021 HTTP/1.1\r\n{close}"), 400, "Upgrade"),
        (format!("PUT /ts2021 HTTP/1.1\r\n{asks}"), 405, "method"),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{asks}, h2c\r\nContent-Length: 0"),
            400,
            "Upgrade",
        ),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{asks}\r\nContent-Length: 0"),
            400,
            "X-Tailscale-Handshake",
        ),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{asks}\r\nX-Tailscale-Handshake: ###"),
            400,
            "base64",
        ),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{asks}\r\nX-Tailscale-Handshake: \u{e9}"),
            400,
            "X-Tailscale-Handshake",
        ),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{asks}\r\nX-Tailscale-Handshake:"),
            400,
            "101 bytes",
        ),
        (format!("GET /ts2021 HTTP/1.1\r\n{close}"), 400, ""),
        (
            format!("GET /ts2021 HTTP/1.1\r\n{socket}\r\nSec-WebSocket-Version: 13"),
            400,
            "X-Tailscale-Handshake",
        ),
        (
            format!(
                "GET /ts2021?X-Tailscale-Handshake=AAAA HTTP/1.1\r\n{socket}\r\nSec-WebSocket-Version: 13"
            ),
            400,
            "101 bytes",
        ),
        (
            format!(
                "GET /ts2021?X-Tailscale-Handshake=%23 HTTP/1.1\r\n{socket}\r\nSec-WebSocket-Version: 13"
            ),
            400,
            "base64",
        ),
        (
            format!("GET /ts2021 HTTP/1.1\r\n{socket}\r\nSec-WebSocket-Version: 7"),
            400,
            "",
        ),
        (
            format!("GET /nothing HTTP/1.1\r\n{close}"),
            404,
            "nothing here",
        ),
        (
            format!("GET /register/zz HTTP/1.1\r\n{close}"),
            421,
            "not reached by this name",
        ),
        (
            format!("GET /register/..%2f..%2fkey HTTP/1.1\r\n{close}"),
            421,
            "not reached by this name",
        ),
        (format!("GET /{long} HTTP/1.1\r\n{close}"), 431, ""),
        (
            format!("GET /key HTTP/1.1\r\n{close}\r\nCookie: {long}"),
            431,
            "",
        ),
        (
            format!("GET /key HTTP/1.1\r\n{close}\r\n{many}X: y"),
            431,
            "",
        ),
        ("GET /key HTTP/9.9\r\nHost: x".to_owned(), 400, ""),
        ("nonsense".to_owned(), 400, ""),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{close}\r\nContent-Length: 1\r\nContent-Length: 2"),
            400,
            "",
        ),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{close}\r\nContent-Length: -1"),
            400,
            "",
        ),
        (
            format!("POST /ts2021 HTTP/1.1\r\n{close}\r\nTransfer-Encoding: chunked, gzip"),
            400,
            "",
        ),
    ] {
        let (found, text) = head(&request);
        let shown = &request[..request.len().min(120)];
        assert!(
            found == status && text.contains(says),
            "{shown}: {found} {text}"
        );
    }
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spoiled_handshakes_are_refused_in_words() {
    let name = "bad_input::upgrade::spoiled_handshakes_are_refused_in_words";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let machine = PrivateKey::from_random(random_bytes());
    let (_, initiation) = Initiator::begin(&machine, test_server.control, 130).unwrap();
    for length in 0..=initiation.len() + 1 {
        let mut other = initiation.to_vec();
        other.resize(length, 0);
        if length != initiation.len() {
            let (status, mut stream) = upgrade(&other).await;
            let mut text = [0; 200];
            let count = stream.read(&mut text).await.unwrap();
            let text = String::from_utf8_lossy(&text[..count]);
            assert!(
                status == 400 && text.contains("101 bytes"),
                "{length}: {text}"
            );
        }
    }
    for index in 0..initiation.len() {
        let mut changed = initiation;
        changed[index] ^= 0x10;
        let text = refusal(&changed).await;
        let wanted = if (2..5).contains(&index) {
            "header"
        } else {
            "decrypted"
        };
        assert!(text.contains(wanted), "byte {index}: {text}");
    }
    for first in [0, 1, 0xec, 0xed, 0xee] {
        let mut point = [if first < 2 { 0 } else { 0xff }; 32];
        (point[0], point[31]) = (first, if first < 2 { 0 } else { 0x7f });
        for high in [0, 0x80] {
            point[31] |= high;
            let mut weak = initiation;
            weak[5..37].copy_from_slice(&point);
            let text = refusal(&weak).await;
            assert!(text.contains("low order"), "{point:02x?}: {text}");
        }
    }
    let elsewhere = PrivateKey::from_random(random_bytes()).public_bytes();
    let elsewhere = bowline_keys::MachinePublic::from_bytes(elsewhere);
    let (_, foreign) = Initiator::begin(&machine, elsewhere, 130).unwrap();
    let text = refusal(&foreign).await;
    assert!(text.contains("restart the client"), "{text}");
    // Any version can shake hands; what it may ask is looked at then.
    for version in [0, 1, 48, u16::MAX] {
        let (initiator, initiation) =
            Initiator::begin(&machine, test_server.control, version).unwrap();
        let (status, mut stream) = upgrade(&initiation).await;
        let mut response = [0; 51];
        stream.read_exact(&mut response).await.unwrap();
        assert!(
            status == 101 && initiator.finish(&response).is_ok(),
            "{version}"
        );
    }
    test_server.assert_undisturbed().await;
}
