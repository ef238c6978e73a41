//! What the key policy does not let clients do, and what their users are told of it.

use bowline_interop::{Client, Release, Server, TestNetwork, wait_for};

use super::SOON;

/// What the policy says to a key that works more than once.
const ONLY_ONE_OFF: &str =
    "the network's key policy says that auth keys have to work only once: ask for another";
/// What the policy says to a login.
const NO_LOGINS: &str =
    "the network's key policy lets no login add a device: ask an administrator for an auth key";
/// What is said to who comes with a key that is used up.
const USED_UP: &str = "as often as it may be: ask for another";

/// Has a client ask to be let in with a key; returns what it tells its user.
fn refused(client: &Client, server: &Server, key: &str, name: &str) -> String {
    let joined = client.join(&server.url, key, name);
    joined.unwrap_err().to_string()
}

fn new_key(server: &Server, limits: &[&str]) -> String {
    let create = [&["keys", "create", "--user", "owner@home"], limits].concat();
    let made = server.bowline(&create).unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

#[test]
fn client_tells_its_user_why_the_key_policy_does_not_let_it_join_and_what_to_do() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let reusable = new_key(&server, &["--reusable"]);
    let client = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();

    // A key that was made before the policy.
    server
        .set_key_policy(r#"{"pre_auth_keys": {"only_one_off": true}}"#)
        .unwrap();
    let told = refused(&client, &server, &reusable, "c1");
    assert!(told.contains(ONLY_ONE_OFF), "{told}");

    // A key used from elsewhere.
    server
        .set_key_policy(r#"{"pre_auth_keys": {"source_networks": ["192.0.2.0/24"]}}"#)
        .unwrap();
    let joined = client.join_after_refusal(&server.url, &reusable, "c1", ONLY_ONE_OFF);
    let told = joined.unwrap_err().to_string();
    let address = &client.host.address;
    assert!(
        told.contains(&format!("from the address {address} ")),
        "{told}"
    );
    assert!(
        told.contains("join from a network that is allowed"),
        "{told}"
    );

    // A login, of a client that no try before has left with something to say.
    let newcomer = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    server
        .set_key_policy(
            // The first client goes on trying with the key by itself.
            r#"{"pre_auth_keys": {"only_one_off": true}, "logins": {"no_new_nodes": true}}"#,
        )
        .unwrap();
    let (login, waiting) = newcomer.begin_login(&server.url, "c2").unwrap();
    let approve = ["logins", "approve", &login, "--user", "owner@home"];
    server.bowline(&approve).unwrap();
    wait_for("the client says why", SOON, || {
        let told = waiting.log();
        if told.contains(NO_LOGINS) {
            Ok(())
        } else {
            Err(told)
        }
    });
    drop(waiting);
    assert_eq!(
        server.bowline(&["nodes", "list"]).unwrap(),
        serde_json::json!([]),
        "nobody has joined"
    );
    let trail = server
        .bowline(&["audit", "list", "--action", "registration.refuse"])
        .unwrap();
    assert!(
        trail.to_string().contains("lets no login add a device"),
        "{trail}"
    );

    // What is asked for lets a client in.
    let key = new_key(&server, &[]);
    let other = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    other.join(&server.url, &key, "c3").unwrap();
    other.wait_for_state("Running", SOON);
}

#[test]
fn key_lets_in_as_many_clients_as_it_may_and_no_more() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let key = new_key(&server, &["--reusable", "--max-uses", "2"]);
    let clients: Vec<_> = (0..4)
        .map(|_| Client::start(network.host().unwrap(), Release::Current, &[]).unwrap())
        .collect();
    for (client, name) in clients.iter().zip(["c1", "c2"]) {
        client.join(&server.url, &key, name).unwrap();
    }
    let told = refused(&clients[2], &server, &key, "c3");
    assert!(told.contains("the auth key was used 2 times"), "{told}");
    assert!(told.contains(USED_UP), "{told}");
    assert_eq!(clients[2].state(), "NeedsLogin");

    // A lower limit of the policy holds for keys that are there.
    let wide = new_key(&server, &["--reusable", "--max-uses", "9"]);
    server
        .set_key_policy(r#"{"pre_auth_keys": {"max_uses": 1}}"#)
        .unwrap();
    clients[3].join(&server.url, &wide, "c4").unwrap();
    clients[0].wait_for_peers(&["c2", "c4"], SOON);
    let fifth = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let told = refused(&fifth, &server, &wide, "c5");
    assert!(told.contains(USED_UP), "{told}");
    clients[0].wait_for_peers(&["c2", "c4"], SOON);
}
