//! What the key policy does not let clients do, and what their users are told of it.

use bowline_interop::{Client, Release, Server, TestNetwork, wait_for};

use super::SOON;

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
    let words =
        "the network's key policy says that auth keys have to work only once: ask for another";
    assert!(told.contains(words), "{told}");

    // A key used from elsewhere.
    server
        .set_key_policy(r#"{"pre_auth_keys": {"source_networks": ["192.0.2.0/24"]}}"#)
        .unwrap();
    let told = refused(&client, &server, &reusable, "c1");
    let address = &client.host.address;
    assert!(
        told.contains(&format!("from the address {address} ")),
        "{told}"
    );
    assert!(
        told.contains("join from a network that is allowed"),
        "{told}"
    );

    // A login.
    server
        .set_key_policy(
            // The client goes on trying with the key by itself.
            r#"{"pre_auth_keys": {"only_one_off": true}, "logins": {"no_new_nodes": true}}"#,
        )
        .unwrap();
    let (login, waiting) = client.begin_login(&server.url, "c1").unwrap();
    let approve = ["logins", "approve", &login, "--user", "owner@home"];
    server.bowline(&approve).unwrap();
    let words =
        "the network's key policy lets no login add a device: ask an administrator for an auth key";
    wait_for("the client says why", SOON, || {
        let told = waiting.log();
        if told.contains(words) {
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

    // What is asked for lets it in.
    let key = new_key(&server, &[]);
    client.join(&server.url, &key, "c1").unwrap();
    client.wait_for_state("Running", SOON);
}

#[test]
fn key_lets_in_as_many_clients_as_it_may_and_no_more() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let key = new_key(&server, &["--reusable", "--max-uses", "2"]);
    let clients: Vec<_> = (0..3)
        .map(|_| Client::start(network.host().unwrap(), Release::Current, &[]).unwrap())
        .collect();
    for (client, name) in clients.iter().zip(["c1", "c2"]) {
        client.join(&server.url, &key, name).unwrap();
    }
    let told = refused(&clients[2], &server, &key, "c3");
    let words = "the auth key was used 2 times, as often as it may be: ask for another";
    assert!(told.contains(words), "{told}");
    assert_eq!(clients[2].state(), "NeedsLogin");

    // A lower limit of the policy holds for keys that are there.
    let wide = new_key(&server, &["--reusable", "--max-uses", "9"]);
    server
        .set_key_policy(r#"{"pre_auth_keys": {"max_uses": 1}}"#)
        .unwrap();
    clients[2].join(&server.url, &wide, "c3").unwrap();
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    let fourth = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let told = refused(&fourth, &server, &wide, "c4");
    assert!(told.contains("as often as it may be"), "{told}");
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
}
