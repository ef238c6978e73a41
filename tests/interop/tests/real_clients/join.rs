//! Clients of every kind join and talk to each other.

use bowline_interop::{Client, Release, RustClient, Server, TestNetwork, wait_for};

use super::{ECHO, MINUTE, SOON, joined, reaches};

#[test]
fn clients_join_by_key_and_by_login_and_talk() {
    let Some((network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    let two = clients[1].ipv4().unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    let pong = clients[0]
        .run(&["ping", "--c=5", "--timeout=5s", &two])
        .unwrap();
    assert!(pong.contains("pong from c2"), "{pong}");
    clients[1].serve_echo(ECHO, 7000).unwrap();
    reaches(&clients[0], &two, 7000);

    let third = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let (address, _waiting) = third.begin_login(&server.url, "c3").unwrap();
    let pending = server.bowline(&["logins", "list"]).unwrap();
    assert_eq!(pending[0]["hostname"], "c3");
    server
        .bowline(&["logins", "approve", &address, "--user", "owner@home"])
        .unwrap();
    third.wait_for_state("Running", SOON);
    third.wait_for_peers(&["c1", "c2"], SOON);
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    reaches(&third, &two, 7000);
}

#[test]
fn clients_join_over_tls_with_the_certificate_of_a_first_start() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start_tls(network.host().unwrap()).unwrap();
    let authority = server.authority().display().to_string();
    let key = server.key().unwrap();
    let trusting = [("SSL_CERT_FILE", authority.as_str())];
    let one = Client::start(network.host().unwrap(), Release::Current, &trusting).unwrap();
    one.join(&server.url, &key, "c1").unwrap();
    let mut two = Client::start(network.host().unwrap(), Release::Current, &trusting).unwrap();
    two.join(&server.url, &key, "c2").unwrap();
    one.wait_for_peers(&["c2"], SOON);
    two.serve_echo(ECHO, 7000).unwrap();
    reaches(&one, &two.ipv4().unwrap(), 7000);
}

#[test]
fn published_rust_client_joins_and_answers_a_go_client() {
    let Some((network, server, clients)) = joined(1, &[]) else {
        return;
    };
    let key = server.key().unwrap();
    let host = network.host().unwrap();
    let rust = RustClient::start(&host, &server.url, &key, "rusty").unwrap();
    let (address, _) = wait_for("the Rust client joins", MINUTE, || {
        rust.address().ok_or_else(|| rust.log())
    });
    clients[0].wait_for_peers(&["rusty"], SOON);
    wait_for("the Rust client answers", MINUTE, || {
        let answer = clients[0].echo(&address, 7000, "hello");
        answer.map_err(|error| error.to_string())
    });
}

#[test]
fn connected_client_shows_whose_a_newcomer_is() {
    let Some((network, server, clients)) = joined(1, &[]) else {
        return;
    };
    let node = server.bowline(&["nodes", "show", "c1"]).unwrap()["id"]
        .as_u64()
        .unwrap();
    let held = server.sessions(node);
    let login = "ben@example.com";
    server.bowline(&["users", "create", login]).unwrap();
    let key = server
        .bowline(&["keys", "create", "--user", login])
        .unwrap();
    let newcomer = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let key = key["secret"].as_str().unwrap();
    newcomer.join(&server.url, key, "c2").unwrap();
    for (client, peer, owner) in [(&clients[0], "c2", login), (&newcomer, "c1", "owner@home")] {
        wait_for(&format!("{owner} is shown"), SOON, || {
            let status = client.status().map_err(|error| error.to_string())?;
            let mut peers = status["Peer"].as_object().into_iter().flatten();
            let found = peers.find(|(_, found)| found["HostName"] == *peer);
            let user = found.map(|(_, found)| found["UserID"].to_string());
            let shown = &status["User"][user.unwrap_or_default()]["LoginName"];
            (*shown == *owner)
                .then_some(())
                .ok_or_else(|| status.to_string())
        });
    }
    assert_eq!(server.sessions(node), held, "on the stream it has");
}
