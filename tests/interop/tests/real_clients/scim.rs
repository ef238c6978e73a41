//! People whom a provider keeps by SCIM, with real clients.

use std::{net::TcpStream, thread, time::Instant};

use super::{ECHO, SECOND, SOON, http::send, reaches, split};

const USERS: &str = "/scim/v2/Users";

/// Sends a SCIM request to a gateway; returns the status and the body.
pub(super) fn ask(
    gateway: &str,
    secret: &str,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(gateway).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {gateway}\r\nAuthorization: Bearer {secret}\r\n\
         Content-Type: application/scim+json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (status, body) = send(&mut stream, request.as_bytes());
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn deactivation_cuts_a_node_off_on_both_gateways() {
    let name = "scim::deactivation_cuts_a_node_off_on_both_gateways";
    let Some((split, mut clients)) = split(name, 3) else {
        return;
    };
    split
        .bowline(&[
            "connections",
            "create",
            "oidc",
            "Corp",
            "--issuer",
            "https://login.example.com",
            "--client-id",
            "bowline",
            "--domain",
            "example.com",
        ])
        .unwrap();
    let token = split
        .bowline(&["scim-tokens", "create", "--connection", "Corp"])
        .unwrap();
    let secret = token["secret"].as_str().unwrap();
    let gateways = ["10.77.0.1:8081", "10.77.0.1:8082"];
    let kim = r#"{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "kim@example.com"}"#;
    let (status, made) = ask(gateways[0], secret, "POST", USERS, kim);
    assert_eq!(status, 201, "{made}");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let path = format!("{USERS}/{}", made["id"].as_str().unwrap());

    let owner = split.key().unwrap();
    let own = split
        .bowline(&["keys", "create", "--user", "kim@example.com"])
        .unwrap();
    clients[0].join(&split.url(1), &owner, "c1").unwrap();
    clients[1].join(&split.url(2), &owner, "c2").unwrap();
    clients[2]
        .join(&split.url(2), own["secret"].as_str().unwrap(), "c3")
        .unwrap();
    clients[2].serve_echo(ECHO, 7000).unwrap();
    let address = clients[2].ipv4().unwrap();
    let watchers = [(&clients[0], "c2"), (&clients[1], "c1")];
    for (watcher, other) in watchers {
        watcher.wait_for_peers(&[other, "c3"], SOON);
        reaches(watcher, &address, 7000);
    }

    let change = |active: bool| {
        let patch = format!(
            r#"{{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{{"op": "replace", "path": "active", "value": {active}}}]}}"#
        );
        let (status, answer) = ask(gateways[0], secret, "PATCH", &path, &patch);
        assert!(matches!(status, 200 | 204), "{status} {answer}");
    };
    let start = Instant::now();
    change(false);
    thread::scope(|scope| {
        for (watcher, other) in watchers {
            scope.spawn(move || {
                watcher.wait_for_peers(&[other], SOON);
                let took = start.elapsed();
                println!("told after {took:?}");
                assert!(took < SECOND, "told after {took:?}");
            });
        }
    });
    assert!(
        clients[0].echo(&address, 7000, "hello").is_err(),
        "the port is closed"
    );
    change(true);
    for (watcher, other) in watchers {
        watcher.wait_for_peers(&[other, "c3"], SOON);
        reaches(watcher, &address, 7000);
    }
}
