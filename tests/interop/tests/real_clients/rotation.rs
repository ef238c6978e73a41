//! Node keys that are replaced: by a person's login, and without a person in the last tenth of an interval.

use bowline_interop::{Client, Server, wait_for};
use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use super::{ECHO, SOON, joined, reaches};

fn state_of(server: &Server, node: &str) -> Value {
    server.bowline(&["nodes", "show", node]).unwrap()
}

fn due_of(node: &Value) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(node["rotation_due"].as_str().unwrap()).unwrap()
}

fn wait_for_other_key(server: &Server, before: &Value) -> Value {
    let (now, _) = wait_for("the node has another key", SOON, || {
        let now = state_of(server, "c2");
        match now["node_key"] == before["node_key"] {
            true => Err("it has the same".to_owned()),
            false => Ok(now),
        }
    });
    for field in ["id", "name", "ipv4", "ipv6", "machine_key"] {
        assert_eq!(now[field], before[field], "{field}");
    }
    now
}

/// Has a client replace its key, as a timer on the machine would.
fn renew(client: &Client, server: &Server) {
    let url = format!("--login-server={}", server.url);
    let renew = [
        "up",
        &url,
        "--hostname=c2",
        "--force-reauth",
        "--timeout=60s",
    ];
    client.run(&renew).unwrap();
}

#[test]
fn key_is_replaced_by_a_login_or_when_it_is_due_and_connections_go_on() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let address = clients[1].ipv4().unwrap();
    reaches(&clients[0], &address, 7000);
    let mut stream = clients[0].open_stream(&address, 7000).unwrap();
    assert_eq!(stream.exchange("before").unwrap(), "before");

    // Long before it is due, a person has to log in.
    let every = ["nodes", "set-expiry", "c2", "--every", "10h"];
    server.bowline(&every).unwrap();
    let first = state_of(&server, "c2");
    let login = clients[1].begin_login_with(&server.url, "c2", &["--force-reauth"]);
    let (login, _waiting) = login.unwrap();
    assert_eq!(stream.exchange("meanwhile").unwrap(), "meanwhile");
    let approve = ["logins", "approve", &login, "--user", "owner@home"];
    server.bowline(&approve).unwrap();
    let second = wait_for_other_key(&server, &first);
    assert_eq!(stream.exchange("after a login").unwrap(), "after a login");

    // In the last tenth, the hour before its end, nobody has to.
    server
        .bowline(&["nodes", "set-expiry", "c2", "30m"])
        .unwrap();
    renew(&clients[1], &server);
    let third = wait_for_other_key(&server, &second);
    // It works for a whole interval again, not for what was left. Times have whole seconds: both may be the same.
    assert!(due_of(&third) >= due_of(&second), "{second} {third}");
    assert_eq!(
        stream.exchange("after a renewal").unwrap(),
        "after a renewal"
    );
    assert_eq!(clients[1].ipv4().unwrap(), address);
    reaches(&clients[0], &address, 7000);
}
