//! Ends of keys: the node's own stream ends and its peers are told, within a second.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bowline_interop::{Client, Release, Sessions, wait_for};
use serde_json::Value;

use super::{ECHO, SECOND, SOON, joined, reaches, split};

/// A deployment of either kind, as a test administers and watches it.
struct TestDeployment<'a> {
    bowline: &'a (dyn Fn(&[&str]) -> Result<Value> + Sync),
    /// The sessions of a node on the gateway it is connected to.
    sessions: &'a (dyn Fn(u64) -> Sessions + Sync),
}

impl TestDeployment<'_> {
    /// Ends the key of a node called `name`, and checks how soon its stream ends and the watcher is told.
    fn ends(&self, what: &str, name: &str, watcher: &Client, left: &[&str], end: impl FnOnce()) {
        let shown = (self.bowline)(&["nodes", "show", name]).unwrap();
        let node = shown["id"].as_u64().unwrap();
        wait_for("the node's own stream", SOON, || {
            let sessions = (self.sessions)(node);
            if sessions.begun > sessions.ended {
                Ok(())
            } else {
                Err(format!("{sessions:?}"))
            }
        });
        let ended = (self.sessions)(node).ended;
        let start = Instant::now();
        let own_stream = || {
            wait_for("the end of the node's own stream", SOON, || {
                let sessions = (self.sessions)(node);
                if sessions.ended > ended {
                    Ok(())
                } else {
                    Err(format!("{sessions:?}"))
                }
            });
            start.elapsed()
        };
        let peers = || {
            watcher.wait_for_peers(left, SOON);
            start.elapsed()
        };
        let (own, told): (Duration, Duration) = thread::scope(|scope| {
            let (own, told) = (scope.spawn(own_stream), scope.spawn(peers));
            end();
            (own.join().unwrap(), told.join().unwrap())
        });
        assert!(own < SECOND, "{what}: own stream ended after {own:?}");
        assert!(told < SECOND, "{what}: a peer was told after {told:?}");
    }

    /// Keeps three nodes out in four ways.
    fn ends_in_every_way(&self, watcher: &Client, logged_out: &Client) {
        watcher.wait_for_peers(&["c2", "c3", "c4"], SOON);
        self.ends("disabling", "c2", watcher, &["c3", "c4"], || {
            let answer = (self.bowline)(&["nodes", "disable", "c2"]).unwrap();
            all_applied(&answer);
        });
        (self.bowline)(&["nodes", "enable", "c2"]).unwrap();
        watcher.wait_for_peers(&["c2", "c3", "c4"], SOON);
        self.ends("expiry", "c2", watcher, &["c3", "c4"], || {
            let answer = (self.bowline)(&["nodes", "expire", "c2"]).unwrap();
            all_applied(&answer);
        });
        self.ends("deletion", "c3", watcher, &["c4"], || {
            let answer = (self.bowline)(&["nodes", "delete", "c3"]).unwrap();
            all_applied(&answer);
        });
        self.ends("logout", "c4", watcher, &[], || {
            logged_out.run(&["logout"]).unwrap();
        });
    }
}

fn all_applied(answer: &Value) {
    let gateways = answer["gateways"].as_array().unwrap();
    let applied = |gateway: &Value| gateway["state"] == "applied";
    assert!(
        !gateways.is_empty() && gateways.iter().all(applied),
        "{answer}"
    );
}

#[test]
fn expiry_deletion_and_logout_take_effect_within_a_second() {
    let Some((_network, server, clients)) = joined(4, &[]) else {
        return;
    };
    let address = clients[0].ipv4().unwrap();
    let deployment = TestDeployment {
        bowline: &|arguments| server.bowline(arguments),
        sessions: &|node| server.sessions(node),
    };
    deployment.ends_in_every_way(&clients[0], &clients[3]);
    clients[1].wait_for_state("NeedsLogin", SOON);
    clients[3].wait_for_state("NeedsLogin", SOON);
    assert_eq!(
        clients[0].ipv4().unwrap(),
        address,
        "the others keep theirs"
    );

    // A client that logged out has forgotten its key: it comes back as a new node.
    let key = server.key().unwrap();
    clients[3].join(&server.url, &key, "c4").unwrap();
    clients[0].wait_for_peers(&["c4"], SOON);
}

#[test]
fn suspension_of_a_user_takes_effect_within_a_second_until_it_is_taken_back() {
    let Some((network, server, clients)) = joined(1, &[]) else {
        return;
    };
    let login = "ben@example.com";
    server.bowline(&["users", "create", login]).unwrap();
    let key = server
        .bowline(&["keys", "create", "--user", login])
        .unwrap();
    let other = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let key = key["secret"].as_str().unwrap();
    other.join(&server.url, key, "c2").unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    let deployment = TestDeployment {
        bowline: &|arguments| server.bowline(arguments),
        sessions: &|node| server.sessions(node),
    };
    deployment.ends("suspension", "c2", &clients[0], &[], || {
        let answer = server.bowline(&["users", "suspend", login]).unwrap();
        all_applied(&answer);
    });
    let shown = server.bowline(&["nodes", "show", "c2"]).unwrap();
    assert_eq!(shown["user_suspended"], true);
    server.bowline(&["users", "restore", login]).unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    other.wait_for_peers(&["c1"], SOON);
}

#[test]
fn expiry_deletion_and_logout_cross_gateways_within_a_second() {
    let name = "revocation::expiry_deletion_and_logout_cross_gateways_within_a_second";
    let Some((split, clients)) = split(name, 4) else {
        return;
    };
    let key = split.key().unwrap();
    clients[0].join(&split.url(1), &key, "c1").unwrap();
    for (client, name) in clients[1..].iter().zip(["c2", "c3", "c4"]) {
        client.join(&split.url(2), &key, name).unwrap();
    }
    let deployment = TestDeployment {
        bowline: &|arguments| split.bowline(arguments),
        sessions: &|node| split.sessions(2, node),
    };
    deployment.ends_in_every_way(&clients[0], &clients[3]);
}

#[test]
fn deleted_nodes_client_is_told_to_log_in_even_when_it_was_away() {
    let Some((_network, server, clients)) = joined(3, &[]) else {
        return;
    };
    // Connected: at once.
    let answer = server.bowline(&["nodes", "delete", "c2"]).unwrap();
    all_applied(&answer);
    let took = clients[1].wait_for_state("NeedsLogin", SOON);
    println!("told after {took:?}");
    // Away: when it is back, with the map it has.
    clients[2].host.set_cable(false).unwrap();
    server.bowline(&["nodes", "delete", "c3"]).unwrap();
    clients[2].host.break_connections(8080).unwrap();
    assert_eq!(clients[2].state(), "Running");
    clients[2].host.set_cable(true).unwrap();
    clients[2].wait_for_state("NeedsLogin", super::MINUTE);
    // Until somebody logs in again on them.
    let key = server.key().unwrap();
    for (client, name) in clients[1..].iter().zip(["c4", "c5"]) {
        assert_eq!(client.state(), "NeedsLogin");
        client.join(&server.url, &key, name).unwrap();
    }
    clients[0].wait_for_peers(&["c4", "c5"], SOON);
}

#[test]
fn node_that_moved_while_its_user_was_suspended_is_reached_when_it_is_restored() {
    let Some((network, server, clients)) = joined(1, &[]) else {
        return;
    };
    let login = "ben@example.com";
    server.bowline(&["users", "create", login]).unwrap();
    let key = server
        .bowline(&["keys", "create", "--user", login])
        .unwrap();
    let mut other = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    let key = key["secret"].as_str().unwrap();
    other.join(&server.url, key, "c2").unwrap();
    other.serve_echo(ECHO, 7000).unwrap();
    let address = other.ipv4().unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    reaches(&clients[0], &address, 7000);

    let answer = server.bowline(&["users", "suspend", login]).unwrap();
    all_applied(&answer);
    clients[0].wait_for_peers(&[], SOON);
    let moved = "10.77.0.99:41641";
    other.host.move_to("10.77.0.99").unwrap();
    wait_for("its client tells of the move", super::MINUTE, || {
        let own = other.status().unwrap_or_default()["Self"]["Addrs"].to_string();
        server.has_stored(moved).then_some(()).ok_or(own)
    });

    server.bowline(&["users", "restore", login]).unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    clients[0].wait_for_path(&address, moved);
    reaches(&clients[0], &address, 7000);
}
