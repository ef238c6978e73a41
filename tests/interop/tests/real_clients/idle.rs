//! Streams on which nothing happens, and cables that are cut.

use std::time::{Duration, Instant};

use bowline_interop::{Client, Lab, Release, Server, Sessions, is_possible};

use super::{ECHO, MINUTE, SOON, hears_of, joined, reaches};

fn node(server: &Server, name: &str) -> u64 {
    let shown = server.bowline(&["nodes", "show", name]).unwrap();
    shown["id"].as_u64().unwrap()
}

#[test]
fn idle_streams_of_both_transports_outlive_the_watchdog() {
    if !is_possible() {
        return;
    }
    let lab = Lab::new().unwrap();
    let settings = "nacl_below = 89\nplain_http_boxes = true";
    let server = Server::start(lab.host().unwrap(), settings).unwrap();
    let key = server.key().unwrap();
    let mut old = Client::start(lab.host().unwrap(), Release::Nacl, &[]).unwrap();
    old.join(&server.url, &key, "old").unwrap();
    let new = Client::start(lab.host().unwrap(), Release::Current, &[]).unwrap();
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
    if !is_possible() {
        return;
    }
    let (_lab, server, clients) = joined(2, &[]);
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
