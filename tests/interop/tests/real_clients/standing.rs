//! What administrators say of a node beside its key: disabled, denied, until when.

use bowline_interop::{Client, Release, Server, TestNetwork, wait_for};
use serde_json::Value;

use super::{ECHO, SECOND, SOON, joined, reaches};

/// Waits until a client shows an end of its key that is right; `None` for none.
fn wait_for_end(client: &Client, is_right: impl Fn(Option<&str>) -> bool) {
    wait_for("the end of the key", SOON, || {
        let status = client.status().map_err(|error| error.to_string())?;
        let end = status["Self"]["KeyExpiry"].as_str();
        match is_right(end) {
            true => Ok(()),
            false => Err(format!("{end:?}")),
        }
    });
}

fn state_of(server: &Server, node: &str) -> Value {
    server.bowline(&["nodes", "show", node]).unwrap()
}

#[test]
fn disabled_node_is_not_authorised_until_it_is_enabled() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let (before, address) = (state_of(&server, "c2"), clients[1].ipv4().unwrap());
    reaches(&clients[0], &address, 7000);
    let answer = server.bowline(&["nodes", "disable", "c2"]).unwrap();
    assert_eq!(answer["gateways"][0]["state"], "applied", "{answer}");
    let took = clients[0].wait_for_peers(&[], SOON);
    assert!(took < SECOND, "its peer was told after {took:?}");
    clients[1].wait_for_state("NeedsMachineAuth", SOON);
    assert_eq!(state_of(&server, "c2")["disabled"], true);

    // A new start, and a new key for the node, are no way around it.
    clients[1].restart().unwrap();
    clients[1].wait_for_state("NeedsMachineAuth", SOON);
    let url = format!("--login-server={}", server.url);
    let key = format!("--authkey={}", server.key().unwrap());
    let renew = [
        "up",
        &url,
        &key,
        "--hostname=c2",
        "--force-reauth",
        "--timeout=10s",
    ];
    let waited = clients[1].run(&renew).unwrap_err().to_string();
    println!("the command that waits says: {waited}");
    clients[1].wait_for_state("NeedsMachineAuth", SOON);
    let renewed = state_of(&server, "c2");
    assert_eq!(
        (&renewed["id"], &renewed["disabled"]),
        (&before["id"], &true.into())
    );
    assert_ne!(renewed["node_key"], before["node_key"]);
    assert!(clients[0].peers().is_empty());

    server.bowline(&["nodes", "enable", "c2"]).unwrap();
    clients[1].wait_for_state("Running", SOON);
    clients[0].wait_for_peers(&["c2"], SOON);
    clients[1].wait_for_peers(&["c1"], SOON);
    assert_eq!(clients[1].ipv4().unwrap(), address);
    let after = state_of(&server, "c2");
    for field in ["id", "name", "ipv4", "ipv6", "machine_key"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    clients[1].serve_echo(ECHO, 7001).unwrap();
    reaches(&clients[0], &address, 7001);
}

#[test]
fn machine_that_waits_is_told_that_it_is_denied_until_it_is_approved() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let require = ["tailnets", "update", "--machine-approval", "true"];
    server.bowline(&require).unwrap();
    let key = server.key().unwrap();
    let client = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let (url, auth) = (
        format!("--login-server={}", server.url),
        format!("--authkey={key}"),
    );
    let join = ["up", &url, &auth, "--hostname=c1", "--timeout=5s"];
    client.run(&join).unwrap_err();
    client.wait_for_state("NeedsMachineAuth", SOON);
    server.bowline(&["nodes", "deny", "c1"]).unwrap();
    client.wait_for_state("NeedsLogin", SOON);
    let shown = state_of(&server, "c1");
    assert_eq!(
        (&shown["denied"], &shown["approved"]),
        (&true.into(), &false.into())
    );
    let told = client.run(&join).unwrap_err().to_string();
    let denied = "denied this device";
    assert!(told.contains(denied), "{told}");

    server.bowline(&["nodes", "approve", "c1"]).unwrap();
    client
        .join_after_refusal(&server.url, &key, "c1", denied)
        .unwrap();
    client.wait_for_state("Running", SOON);
    assert_eq!(state_of(&server, "c1")["id"], shown["id"]);
}

#[test]
fn end_of_a_key_reaches_its_client_when_it_is_set_and_when_it_comes() {
    let Some((_network, server, clients)) = joined(2, &[]) else {
        return;
    };
    server
        .bowline(&["nodes", "set-expiry", "c1", "never"])
        .unwrap();
    wait_for_end(&clients[0], |end| end.is_none());
    let time = "2040-01-31T12:00:00Z";
    let shown = server
        .bowline(&["nodes", "set-expiry", "c1", time])
        .unwrap();
    assert_eq!(shown["key_expiry"], time);
    wait_for_end(&clients[0], |end| end == Some(time));
    let past = ["nodes", "set-expiry", "c1", "2020-01-31T12:00:00Z"];
    let refused = server.bowline(&past).unwrap_err().to_string();
    assert!(refused.contains("past"), "{refused}");
    clients[1].wait_for_peers(&["c1"], SOON);
    server
        .bowline(&["nodes", "set-expiry", "c1", "3s"])
        .unwrap();
    clients[0].wait_for_state("NeedsLogin", SOON);
    clients[1].wait_for_peers(&[], SOON);
}

#[test]
fn client_whose_key_has_ended_is_the_same_node_again_after_a_login() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let (before, address) = (state_of(&server, "c2"), clients[1].ipv4().unwrap());
    reaches(&clients[0], &address, 7000);
    let ends: [&[&str]; 2] = [
        &["nodes", "set-expiry", "c2", "3s"],
        &["nodes", "expire", "c2"],
    ];
    for end in ends {
        server.bowline(end).unwrap();
        clients[1].wait_for_state("NeedsLogin", SOON);
        clients[0].wait_for_peers(&[], SOON);
        let reached = clients[0].echo(&address, 7000, "hello");
        assert!(reached.is_err(), "{end:?}: {reached:?}");
        let ended = state_of(&server, "c2");
        assert_eq!(ended["expired"], true);

        let (login, _waiting) = clients[1].begin_login(&server.url, "c2").unwrap();
        let approve = ["logins", "approve", &login, "--user", "owner@home"];
        server.bowline(&approve).unwrap();
        clients[1].wait_for_state("Running", SOON);
        clients[0].wait_for_peers(&["c2"], SOON);
        reaches(&clients[0], &address, 7000);
        let after = state_of(&server, "c2");
        for field in ["id", "name", "ipv4", "ipv6", "machine_key", "created_at"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        assert_eq!(after["expired"], false);
        assert_ne!(after["node_key"], ended["node_key"]);
    }
}

#[test]
fn revoking_a_pre_auth_key_with_its_nodes_ends_their_keys_and_no_others() {
    let Some((network, server, clients)) = joined(1, &[]) else {
        return;
    };
    let create = ["keys", "create", "--user", "owner@home", "--reusable"];
    let made = server.bowline(&create).unwrap();
    let (secret, id) = (made["secret"].as_str(), made["key"]["id"].as_str());
    let leaked: Vec<_> = ["c2", "c3"]
        .into_iter()
        .map(|name| {
            let client = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
            client.join(&server.url, secret.unwrap(), name).unwrap();
            client
        })
        .collect();
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    let revoke = ["keys", "revoke", id.unwrap(), "--with-nodes"];
    let answer = server.bowline(&revoke).unwrap();
    let named: Vec<_> = answer["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["name"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["c2", "c3"]);
    assert_eq!(answer["gateways"][0]["state"], "applied", "{answer}");
    clients[0].wait_for_peers(&[], SOON);
    for client in &leaked {
        client.wait_for_state("NeedsLogin", SOON);
    }
    assert_eq!(clients[0].state(), "Running");
}
