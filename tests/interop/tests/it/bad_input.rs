//! What arrives on the clients' port and should not: a clear answer, nothing changed, nobody disturbed.

use std::net::TcpStream;

use bowline_interop::{Host, Server, inside, is_possible};
use serde_json::{Value, json};

use crate::http::{http, send};

/// Sends the head of a request and returns the status and the text answered.
fn head(text: &str) -> (u16, String) {
    let mut stream = TcpStream::connect("10.77.0.1:8080").unwrap();
    let (status, body) = send(&mut stream, format!("{text}\r\nHost: x\r\n\r\n").as_bytes());
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn malformed_requests_are_answered_clearly_and_change_nothing() {
    let name = "bad_input::malformed_requests_are_answered_clearly_and_change_nothing";
    if !is_possible() || inside(name, 0).is_none() {
        return;
    }
    let settings = "plain_http_boxes = true\nverify_token = \"secret\"";
    let server = Server::start(Host::here(), settings).unwrap();
    let upgrade =
        "POST /ts2021 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: tailscale-control-protocol";
    for (request, status, says) in [
        (
            "GET /key?v=abc HTTP/1.1\r\nConnection: close".to_owned(),
            400,
            "number",
        ),
        (
            "POST /ts2021 HTTP/1.1\r\nConnection: close".to_owned(),
            400,
            "Upgrade",
        ),
        (
            format!("{upgrade}\r\nContent-Length: 0"),
            400,
            "X-Tailscale-Handshake",
        ),
        (
            format!("{upgrade}\r\nX-Tailscale-Handshake: ###"),
            400,
            "base64",
        ),
        (
            format!("{upgrade}\r\nX-Tailscale-Handshake: AAAA"),
            400,
            "101 bytes",
        ),
        (
            "GET /nothing HTTP/1.1\r\nConnection: close".to_owned(),
            404,
            "nothing here",
        ),
        (
            "GET /register/zz HTTP/1.1\r\nConnection: close".to_owned(),
            404,
            "not known",
        ),
    ] {
        let (found, text) = head(&request);
        assert!(
            found == status && text.contains(says),
            "{request}: {found} {text}"
        );
    }
    let machine = "ab".repeat(32);
    for (path, body, status) in [
        ("/machine/zz".to_owned(), vec![0; 50], 400),
        (format!("/machine/{machine}"), vec![0; 10], 400),
        (format!("/machine/{machine}"), vec![0; 200], 400),
        (format!("/machine/{}", "00".repeat(32)), vec![0; 200], 400),
        (format!("/machine/{machine}"), vec![0; (1 << 20) + 1], 413),
        (format!("/machine/{machine}/map"), vec![0; 200], 400),
    ] {
        assert_eq!(
            http("POST", &path, &body).0,
            status,
            "{path} with {} bytes",
            body.len()
        );
    }
    // A handshake for another key: the upgrade is granted, then refused in clear inside it.
    let foreign = format!(
        "{upgrade}\r\nX-Tailscale-Handshake: {}",
        "AIIBAGBC".to_owned() + &"A".repeat(127) + "="
    );
    let (status, text) = head(&foreign);
    assert_eq!(status, 101);
    assert!(
        text.contains("can not be decrypted") || text.contains("low order"),
        "{text:?}"
    );

    assert_eq!(server.bowline(&["nodes", "list"]).unwrap(), json!([]));
    assert_eq!(server.bowline(&["logins", "list"]).unwrap(), json!([]));
}

#[test]
fn outside_relays_learn_whom_they_may_serve() {
    let name = "bad_input::outside_relays_learn_whom_they_may_serve";
    if !is_possible() || inside(name, 0).is_none() {
        return;
    }
    let _server = Server::start(Host::here(), "verify_token = \"secret\"").unwrap();
    let question =
        json!({ "NodePublic": format!("nodekey:{}", "5a".repeat(32)), "Source": "10.0.0.1" });
    let question = question.to_string().into_bytes();
    let (status, answer) = http("POST", "/verify/secret", &question);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(
        (status, &answer["Allow"]),
        (200, &json!(false)),
        "an unknown node"
    );
    assert_eq!(http("POST", "/verify/other", &question).0, 404);
    assert_eq!(http("POST", "/verify/secret", b"{}").0, 400);
}
