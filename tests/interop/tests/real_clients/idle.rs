//! Streams on which nothing happens, and cables that are cut.

use std::time::{Duration, Instant};

use bowline_interop::{Client, Release, Server, Sessions, TestNetwork, wait_for};

use super::{ECHO, MINUTE, SOON, hears_of, joined, reaches};

fn node(server: &Server, name: &str) -> u64 {
    let shown = server.bowline(&["nodes", "show", name]).unwrap();
    shown["id"].as_u64().unwrap()
}

#[test]
fn idle_streams_of_both_transports_outlive_the_watchdog() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let settings = "nacl_below = 89\nplain_http_boxes = true";
    let server = Server::start(network.host().unwrap(), settings).unwrap();
    let key = server.key().unwrap();
    let mut old = Client::start(network.host().unwrap(), Release::Nacl, &[]).unwrap();
    old.join(&server.url, &key, "old").unwrap();
    let new = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    new.join(&server.url, &key, "new").unwrap();
    new.wait_for_peers(&["old"], SOON);
    old.wait_for_peers(&["new"], SOON);
    old.serve_echo(ECHO, 7000).unwrap();
    reaches(&new, &old.ipv4().unwrap(), 7000);

    let nodes = [(&old, node(&server, "old")), (&new, node(&server, "new"))];
    let held = nodes.map(|(_, node)| server.sessions(node));
    for sessions in held {
        assert_eq!(sessions.begun, sessions.ended + 1, "one long poll each");
    }
    // Longer than the clients' watchdog of 120 s: without keep-alives they would break their streams.
    let until = Instant::now() + Duration::from_secs(130);
    while Instant::now() < until {
        for (client, node) in nodes {
            assert_eq!(client.state(), "Running", "node {node}");
        }
        std::thread::sleep(Duration::from_secs(5));
    }
    let held_on: [Sessions; 2] = nodes.map(|(_, node)| server.sessions(node));
    assert_eq!(held, held_on, "the same long polls as before");
    for (peer, renamed) in [("new", "later"), ("old", "older")] {
        server.bowline(&["nodes", "rename", peer, renamed]).unwrap();
    }
    hears_of(&old, "later", SOON);
    hears_of(&new, "older", SOON);
}

#[test]
fn cut_cable_is_survived_without_a_new_registration() {
    let Some((_network, server, clients)) = joined(2, &[]) else {
        return;
    };
    let keys = |name: &str| {
        let shown = server.bowline(&["nodes", "show", name]).unwrap();
        (shown["id"].clone(), shown["node_key"].clone())
    };
    let (before, asked) = (keys("c1"), clients[0].registrations());
    assert!(asked > 0, "the client tells of its registrations");
    clients[0].host.set_cable(false).unwrap();
    // What happens meanwhile has to be told afterwards.
    server
        .bowline(&["nodes", "rename", "c2", "renamed"])
        .unwrap();
    std::thread::sleep(MINUTE);
    clients[0].host.set_cable(true).unwrap();
    hears_of(&clients[0], "renamed", MINUTE);
    assert_eq!(clients[0].registrations(), asked, "no new registration");
    assert_eq!(keys("c1"), before);
    let nodes = server.bowline(&["nodes", "list"]).unwrap();
    assert_eq!(nodes.as_array().unwrap().len(), 2, "{nodes}");
}

#[test]
fn router_whose_cable_is_cut_loses_its_routes_within_twenty_seconds() {
    let Some((_network, server, clients)) = joined(3, &[]) else {
        return;
    };
    server
        .set_policy(r#"{"autoApprovers": {"routes": {"10.9.0.0/16": ["owner@home"]}}, "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}"#)
        .unwrap();
    let subnet = "10.9.0.0/16".to_owned();
    for client in &clients[1..] {
        let routes = format!("--advertise-routes={subnet}");
        client.run(&["set", &routes]).unwrap();
    }
    let watcher = &clients[0];
    let primary = |watcher: &Client| {
        ["c2", "c3"]
            .into_iter()
            .position(|name| watcher.routes_of(name).contains(&subnet))
    };
    let (first, _) = wait_for("one is the primary", SOON, || {
        primary(watcher).ok_or_else(|| "nobody".to_owned())
    });
    let (router, idle) = (&clients[1 + first], node(&server, "c1"));
    // Both answer signs of life for a while, and nobody is cut: longer than the silence that is taken for death.
    let held = server.sessions(node(&server, &format!("c{}", 2 + first)));
    let quiet = server.sessions(idle);
    let signs = || server.log().matches("\"sign of life\"").count();
    let before = signs();
    // One each four seconds of either, where twelve of silence are death.
    wait_for("both have answered often enough", 2 * MINUTE, || {
        let found = signs() - before;
        (found >= 12).then_some(()).ok_or_else(|| found.to_string())
    });
    assert_eq!(
        server.sessions(node(&server, &format!("c{}", 2 + first))),
        held,
        "a healthy router keeps its stream"
    );
    router.host.set_cable(false).unwrap();
    let start = Instant::now();
    wait_for("the other is the primary", MINUTE, || {
        (primary(watcher) == Some(1 - first))
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    });
    let took = start.elapsed();
    println!("the route moved after {took:?}");
    assert!(took <= Duration::from_secs(20), "{took:?}");
    assert_eq!(server.sessions(idle), quiet, "others are as they were");
    // It comes back without a new registration.
    router.host.set_cable(true).unwrap();
    wait_for("it is back", MINUTE, || {
        let shown = server.bowline(&["nodes", "show", &format!("c{}", 2 + first)]);
        let shown = shown.map_err(|error| error.to_string())?;
        (shown["online"] == true)
            .then_some(())
            .ok_or_else(|| shown.to_string())
    });
}
