//! Tailnet lock, switched on, kept and switched off by real clients.

use bowline_interop::{Client, Release, Server, wait_for};
use serde_json::Value;

use super::{ECHO, SOON, join_three, joined, reaches, split};

/// What `tailscale lock status` says.
fn lock_status(client: &Client) -> String {
    client.run(&["lock", "status"]).unwrap_or_default()
}

/// Waits until a client says a text of tailnet lock.
fn wait_for_lock(client: &Client, text: &str) {
    wait_for(&format!("the client says: {text}"), SOON, || {
        let status = lock_status(client);
        match status.contains(text) {
            true => Ok(()),
            false => Err(status),
        }
    });
}

const ON: &str = "is ENABLED";
const OFF: &str = "is NOT enabled";
const SIGNED: &str = "is accessible under Tailnet Lock";
const LOCKED_OUT: &str = "is LOCKED OUT";

/// The client's own lock key.
fn lock_key(client: &Client) -> String {
    let status = lock_status(client);
    let (_, key) = status.split_once("tailnet-lock key: ").unwrap();
    key.split_whitespace().next().unwrap().to_owned()
}

/// Switches tailnet lock on and returns a secret that switches it off.
fn switch_on(client: &Client) -> String {
    let key = lock_key(client);
    let init = ["lock", "init", "--confirm", "--gen-disablements=2", &key];
    let said = client.run(&init).unwrap();
    let mut words = said.split_whitespace();
    let secret = words.find(|word| word.starts_with("disablement-secret:"));
    secret.expect("init prints a secret").to_owned()
}

/// Runs on a client what the server says is to be run for a node that waits.
fn sign_waiting(client: &Client, status: &Value, name: &str) {
    let waiting = status["waiting"].as_array().unwrap();
    let node = waiting.iter().find(|node| node["name"] == name);
    let command = node.expect("the node waits")["command"].as_str();
    let words: Vec<_> = command.unwrap().split_whitespace().skip(1).collect();
    client.run(&words).unwrap();
}

fn state_of(server: &Server, node: &str) -> Value {
    server.bowline(&["nodes", "show", node]).unwrap()
}

#[expect(clippy::too_many_lines, reason = "the life of one lock")]
#[test]
fn lock_keeps_out_whoever_no_trusted_key_has_signed_until_its_secret_switches_it_off() {
    let Some((network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    let start = || Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    clients[0].serve_echo(ECHO, 7000).unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let second = clients[1].ipv4().unwrap();
    reaches(&clients[0], &second, 7000);
    let never = server.bowline(&["lock", "status"]).unwrap();
    assert_eq!(never["state"], "never");

    let secret = switch_on(&clients[0]);
    for client in &clients {
        wait_for_lock(client, ON);
        wait_for_lock(client, SIGNED);
    }
    clients[0].wait_for_peers(&["c2"], SOON);
    clients[1].wait_for_peers(&["c1"], SOON);
    reaches(&clients[0], &second, 7000);

    // A newcomer is let in by nobody until it is signed.
    let newcomer = start();
    let key = server.key().unwrap();
    newcomer.join(&server.url, &key, "c3").unwrap();
    wait_for_lock(&newcomer, LOCKED_OUT);
    assert_eq!(clients[0].peers(), ["c2"]);
    assert_eq!(state_of(&server, "c3")["awaits_signature"], true);
    let status = server.bowline(&["lock", "status"]).unwrap();
    assert_eq!(status["state"], "on");
    assert_eq!(status["keys"][0]["nodes"][0], "c1");
    sign_waiting(&clients[0], &status, "c3");
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    newcomer.wait_for_peers(&["c1", "c2"], SOON);
    wait_for_lock(&newcomer, SIGNED);
    reaches(&newcomer, &second, 7000);

    // Another node key of a signed node: its own lock key signs it.
    let before = state_of(&server, "c2")["node_key"].clone();
    let (url, auth) = (
        format!("--login-server={}", server.url),
        format!("--authkey={}", server.key().unwrap()),
    );
    let renew = [
        "up",
        &url,
        &auth,
        "--hostname=c2",
        "--force-reauth",
        "--timeout=60s",
    ];
    clients[1].run(&renew).unwrap();
    let renewed = state_of(&server, "c2");
    assert_ne!(renewed["node_key"], before);
    assert_eq!(renewed["awaits_signature"], false);
    wait_for_lock(&clients[1], SIGNED);
    reaches(&clients[0], &second, 7000);

    // A pre-auth key that was signed needs nobody.
    let signing = format!("tskey-auth-{}", server.key().unwrap());
    let signed = clients[0].run(&["lock", "sign", &signing]).unwrap();
    let fourth = start();
    fourth.join(&server.url, signed.trim(), "c4").unwrap();
    wait_for_lock(&fourth, SIGNED);
    clients[0].wait_for_peers(&["c2", "c3", "c4"], SOON);

    // What a key has signed ends with the trust in it.
    let trusted = lock_key(&clients[1]);
    clients[0].run(&["lock", "add", &trusted]).unwrap();
    wait_for_lock(&clients[1], "(self)");
    let fifth = start();
    let key = server.key().unwrap();
    fifth.join(&server.url, &key, "c5").unwrap();
    let status = server.bowline(&["lock", "status"]).unwrap();
    sign_waiting(&clients[1], &status, "c5");
    clients[0].wait_for_peers(&["c2", "c3", "c4", "c5"], SOON);
    let remove = ["lock", "remove", "--re-sign=false", &trusted];
    clients[0].run(&remove).unwrap();
    clients[0].wait_for_peers(&["c2", "c3", "c4"], SOON);
    wait_for_lock(&fifth, LOCKED_OUT);
    let log = server.bowline(&["lock", "log"]).unwrap();
    assert_eq!(log[0]["change"], "remove-key");
    let untrusted = clients[1].run(&["lock", "sign", "nodekey:00"]);
    assert!(untrusted.is_err());

    clients[0].run(&["lock", "disable", &secret]).unwrap();
    for client in clients.iter().chain([&newcomer, &fourth, &fifth]) {
        wait_for_lock(client, OFF);
    }
    clients[0].wait_for_peers(&["c2", "c3", "c4", "c5"], SOON);
    fifth.wait_for_peers(&["c1", "c2", "c3", "c4"], SOON);
    reaches(&fifth, &second, 7000);
    let status = server.bowline(&["lock", "status"]).unwrap();
    assert_eq!(status["state"], "off");
}

#[test]
fn clients_of_another_gateway_heed_the_lock_and_hear_of_signatures() {
    let name = "lock::clients_of_another_gateway_heed_the_lock_and_hear_of_signatures";
    let Some((split, mut clients)) = split(name, 4) else {
        return;
    };
    let key = split.key().unwrap();
    join_three(&split, &clients, &key);
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let secret = switch_on(&clients[0]);
    for client in &clients[..3] {
        wait_for_lock(client, SIGNED);
    }
    let url = split.url(2);
    clients[3].join(&url, &key, "c4").unwrap();
    wait_for_lock(&clients[3], LOCKED_OUT);
    let status = split.bowline(&["lock", "status"]).unwrap();
    sign_waiting(&clients[0], &status, "c4");
    clients[1].wait_for_peers(&["c1", "c3", "c4"], SOON);
    clients[3].wait_for_peers(&["c1", "c2", "c3"], SOON);
    reaches(&clients[3], &clients[1].ipv4().unwrap(), 7000);
    clients[0].run(&["lock", "disable", &secret]).unwrap();
    for client in &clients {
        wait_for_lock(client, OFF);
    }
}
