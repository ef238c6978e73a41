//! Networks that move here from headscale, with their clients.

use bowline_interop::{Client, Headscale, Release, Server, TestNetwork, wait_for};
use bowline_test_headscale::{HeadscaleRelease, HeadscaleState};

use super::{ECHO, MINUTE, SOON, reaches};

/// Moves a network to a new server at the address that clients know, and returns the names and addresses of its devices.
fn move_in(server: &mut Server, config: &std::path::Path) -> usize {
    let config = config.to_str().unwrap();
    server.bowline(&["import", "headscale", config]).unwrap();
    server.restart().unwrap();
    let nodes = server.bowline(&["nodes", "list"]).unwrap();
    nodes.as_array().unwrap().len()
}

/// Waits until a client knows two peers.
fn knows(client: &Client, names: [&str; 2]) {
    wait_for(&format!("it knows {names:?}"), MINUTE, || {
        let peers = client.peers();
        match names
            .iter()
            .all(|name| peers.iter().any(|peer| peer == name))
        {
            true => Ok(()),
            false => Err(format!("{peers:?}")),
        }
    });
}

/// Lets a client send everything by the server, and waits until it does.
fn use_exit_node(client: &Client) {
    wait_for("the exit node is used", SOON, || {
        let chosen = client.run(&["set", "--exit-node=server"]);
        chosen.map_err(|error| error.to_string())?;
        let status = client.status().map_err(|error| error.to_string())?;
        match status["ExitNodeStatus"]["ID"].is_string() {
            true => Ok(()),
            false => Err(status["ExitNodeStatus"].to_string()),
        }
    });
}

/// Checks that clients are who they were, and reach each other as headscale's policy says.
fn check_clients(laptop: &Client, phone: &Client, web: &mut Client) {
    for client in [laptop, phone, &*web] {
        client.wait_for_state("Running", MINUTE);
    }
    knows(laptop, ["phone", "server"]);
    wait_for("peers are online", MINUTE, || {
        let status = laptop.status().map_err(|error| error.to_string())?;
        let peers = status["Peer"].as_object().cloned().unwrap_or_default();
        let online = peers.values().filter(|peer| peer["Online"] == true);
        let names: Vec<_> = online.map(|peer| peer["HostName"].to_string()).collect();
        match names.len() >= 2 {
            true => Ok(()),
            false => Err(format!("{names:?}")),
        }
    });
    let name = laptop.status().unwrap()["Self"]["DNSName"].clone();
    assert_eq!(name, "laptop.tail.example.com.");
    let address = web.ipv4().unwrap();
    // Administrators reach everything, bob tagged servers at two ports.
    web.serve_echo(ECHO, 443).unwrap();
    web.serve_echo(ECHO, 7000).unwrap();
    reaches(laptop, &address, 443);
    reaches(laptop, &address, 7000);
    reaches(phone, &address, 443);
    let refused = phone.echo(&address, 7000, "hello");
    assert!(refused.is_err(), "the policy came along: {refused:?}");
}

#[test]
fn clients_of_a_recorded_headscale_come_back_with_their_names_and_addresses() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let state = HeadscaleState::restore(HeadscaleRelease::V29)
        .unwrap()
        .unwrap();
    let mut server = Server::start(network.host().unwrap(), "").unwrap();
    assert_eq!(move_in(&mut server, &state.config()), 50);
    let [laptop, phone, mut web, runner] = ["laptop", "phone", "server", "runner"].map(|name| {
        let host = network.host().unwrap();
        Client::restore(host, Release::Current, &state.client(name)).unwrap()
    });
    check_clients(&laptop, &phone, &mut web);
    runner.wait_for_state("Running", MINUTE);
    let expected = ["100.64.0.1", "100.64.0.2", "100.64.0.3", "100.64.0.4"];
    let addresses = [&laptop, &phone, &web, &runner].map(|client| client.ipv4().unwrap());
    assert_eq!(addresses, expected);
    assert_eq!(laptop.routes_of("server"), ["10.20.0.0/16"]);
}

/// Adds devices without clients, to fifty, and approves what `server` routes.
fn fill(headscale: &Headscale) {
    for number in 4..=50 {
        let user = ["alice", "bob", "carol"][number % 3];
        headscale
            .add_node(user, &format!("desk-{number:02}"))
            .unwrap();
    }
    wait_for("the route is approved", SOON, || {
        headscale
            .approve_routes("server", "10.20.0.0/16,0.0.0.0/0,::/0")
            .map_err(|error| error.to_string())
    });
}

#[test]
#[ignore = "needs a program of headscale 0.29, which HEADSCALE names"]
fn clients_that_run_move_from_headscale_and_keep_what_they_have() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let host = network.host().unwrap();
    let mut headscale = Headscale::start(host.clone()).unwrap();
    let join = |name: &str, key: &str, more: &[&str]| {
        let client = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
        client.join("http://10.77.0.1:8080", key, name).unwrap();
        if !more.is_empty() {
            client.run(&[&["set"], more].concat()).unwrap();
        }
        client
    };
    let (admins, bobs) = (
        headscale.key(1, &[]).unwrap(),
        headscale.key(2, &[]).unwrap(),
    );
    let servers = headscale.key(1, &["--tags", "tag:server"]).unwrap();
    let laptop = join("laptop", &admins, &[]);
    let phone = join("phone", &bobs, &[]);
    let mut web = join(
        "server",
        &servers,
        &["--advertise-routes=10.20.0.0/16", "--advertise-exit-node"],
    );
    fill(&headscale);
    knows(&laptop, ["phone", "server"]);
    let facts = |clients: [&Client; 3]| clients.map(|client| client.ipv4().unwrap());
    let before = facts([&laptop, &phone, &web]);
    let registered = [&laptop, &phone, &web].map(Client::registrations);

    use_exit_node(&laptop);

    // A look at what will happen disturbs nobody.
    let elsewhere = Server::start(network.host().unwrap(), "").unwrap();
    let config = headscale.config();
    let look = ["import", "headscale", config.to_str().unwrap(), "--dry-run"];
    let rows = elsewhere.bowline(&look).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(
        rows.iter().filter(|row| row["kind"] == "device").count(),
        50
    );
    assert_eq!(
        elsewhere.bowline(&["nodes", "list"]).unwrap(),
        serde_json::json!([])
    );
    drop(elsewhere);

    headscale.stop().unwrap();
    let mut server = Server::start(host, "").unwrap();
    assert_eq!(move_in(&mut server, &headscale.config()), 50);
    wait_for("the devices are connected", MINUTE, || {
        let nodes = server.bowline(&["nodes", "list"]).unwrap_or_default();
        let nodes = nodes.as_array().cloned().unwrap_or_default();
        match nodes.iter().filter(|node| node["online"] == true).count() {
            3 => Ok(()),
            online => Err(format!("{online} are")),
        }
    });
    check_clients(&laptop, &phone, &mut web);
    assert_eq!(facts([&laptop, &phone, &web]), before);
    wait_for("the route is there", SOON, || {
        match laptop.routes_of("server") {
            routes if routes == ["10.20.0.0/16"] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let again = [&laptop, &phone, &web].map(Client::registrations);
    assert_eq!(again, registered, "nobody was asked for a login");
    // Devices have other numbers here: a client that knows its exit node by the number chooses it again.
    assert_eq!(laptop.status().unwrap().get("ExitNodeStatus"), None);
    use_exit_node(&laptop);
    // Who is started again asks for the key and comes back, too.
    let mut laptop = laptop;
    laptop.restart().unwrap();
    laptop.wait_for_state("Running", MINUTE);
    assert_eq!(laptop.ipv4().unwrap(), before[0]);
}
