//! Services, bus and database that die: nothing acknowledged is lost, and the connected hardly notice.

use std::time::Duration;

use bowline_interop::{Client, Release, Split, wait_for};
use serde_json::Value;

use super::{ECHO, MINUTE, SOON, hears_of, join_three, joined, reaches, split, wait_for_owners};

/// What has to be the same after an outage: which nodes there are, and their keys, the oldest first.
fn bindings(nodes: &Value) -> Vec<[Value; 4]> {
    let fields = ["id", "node_key", "machine_key", "ipv4"];
    let binding = |node: &Value| fields.map(|field| node[field].clone());
    let mut bindings: Vec<_> = nodes.as_array().unwrap().iter().map(binding).collect();
    bindings.sort_by_key(|binding| binding[0].as_u64());
    bindings
}

#[test]
fn killed_server_comes_back_and_nothing_acknowledged_is_lost() {
    let Some((network, mut server, clients)) = joined(2, &[]) else {
        return;
    };
    let before = bindings(&server.bowline(&["nodes", "list"]).unwrap());
    let key = server.key().unwrap();
    server.bowline(&["nodes", "rename", "c2", "kept"]).unwrap();
    server.kill9();
    server.restart().unwrap();
    hears_of(&clients[0], "kept", MINUTE);
    let third = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    third.join(&server.url, &key, "c3").unwrap();
    clients[0].wait_for_peers(&["c2", "c3"], MINUTE);
    clients[1].wait_for_peers(&["c1", "c3"], MINUTE);
    let after = bindings(&server.bowline(&["nodes", "list"]).unwrap());
    assert_eq!(before, after[..2]);
    names_only_the_living((1, "c3"), &|arguments| server.bowline(arguments));
}

/// Receipts of revocations name the gateways that run, and none that was killed: nobody can hold on to those.
fn names_only_the_living(
    (gateways, node): (usize, &str),
    bowline: &dyn Fn(&[&str]) -> anyhow::Result<Value>,
) {
    wait_for("a receipt of the gateways that run", SOON, || {
        let receipt = bowline(&["nodes", "expire", node]).unwrap();
        let named = receipt["gateways"].as_array().unwrap();
        let is_applied = |one: &Value| one["state"] == "applied";
        match named.len() == gateways && named.iter().all(is_applied) {
            true => Ok(()),
            false => Err(receipt.to_string()),
        }
    });
}

/// Makes a change that a dead service does not hinder; returns the name that peers of `changed` see then.
fn change_without(split: &Split, dead: &str, changed: &Client, node: &str) -> String {
    let name = format!("without-{dead}");
    match dead {
        // The command line asks identity which tailnet it is about, and the registry for the node: the device itself
        // needs only the registry, and gives its change to the gateway to keep when that is away.
        "identity" | "key-registry" => {
            changed
                .run(&["set", &format!("--hostname={name}")])
                .unwrap();
        }
        _ => {
            split.bowline(&["nodes", "rename", node, &name]).unwrap();
        }
    }
    name
}

#[test]
fn killed_services_lose_nothing_and_what_changed_meanwhile_is_seen() {
    let name = "outages::killed_services_lose_nothing_and_what_changed_meanwhile_is_seen";
    let Some((mut split, mut clients)) = split(name, 4) else {
        return;
    };
    let key = split.key().unwrap();
    join_three(&split, &clients, &key);
    let two = clients[1].ipv4().unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let before = bindings(&split.bowline(&["nodes", "list"]).unwrap());
    let [second, third] = [&before[1][0], &before[2][0]].map(Value::to_string);
    for service in [
        "identity",
        "key-registry",
        "policy-compiler",
        "gateway-1",
        "gateway-2",
        "relay",
    ] {
        // One change is acknowledged at the last moment, another while the service is dead.
        let kept = format!("before-{service}");
        split.bowline(&["nodes", "rename", &second, &kept]).unwrap();
        split.kill9(service);
        reaches(&clients[0], &two, 7000);
        let seen = change_without(&split, service, &clients[2], &third);
        split.start_service(service).unwrap();
        wait_for_owners(&split);
        hears_of(&clients[0], &kept, MINUTE);
        for client in &clients[..2] {
            hears_of(client, &seen, MINUTE);
        }
    }
    let after = bindings(&split.bowline(&["nodes", "list"]).unwrap());
    assert_eq!(before, after);
    clients[3].join(&split.url(1), &key, "c4").unwrap();
    for client in &clients[..3] {
        hears_of(client, "c4", MINUTE);
    }
    reaches(&clients[3], &two, 7000);
    // The relay serves again, too.
    for client in &clients[..2] {
        client.host.set_isolated(true).unwrap();
    }
    clients[0].wait_for_path(&two, "DERP(bowline)");
    reaches(&clients[0], &two, 7000);
    names_only_the_living((2, "c4"), &|arguments| split.bowline(arguments));
}

#[test]
fn without_redis_changes_still_arrive() {
    let name = "outages::without_redis_changes_still_arrive";
    let Some((mut split, clients)) = split(name, 3) else {
        return;
    };
    let key = split.key().unwrap();
    clients[0].join(&split.url(1), &key, "c1").unwrap();
    clients[1].join(&split.url(2), &key, "c2").unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    split.redis.kill9();
    let late = Duration::from_secs(10);
    clients[2].join(&split.url(2), &key, "c3").unwrap();
    clients[0].wait_for_peers(&["c2", "c3"], late);
    clients[2].wait_for_peers(&["c1", "c2"], late);
    split.bowline(&["nodes", "delete", "c2"]).unwrap();
    clients[0].wait_for_peers(&["c3"], late);
    split.redis.restart().unwrap();
    split.bowline(&["nodes", "rename", "c3", "again"]).unwrap();
    hears_of(&clients[0], "again", late);
}

#[test]
fn without_postgresql_known_nodes_come_back_and_new_ones_are_told_to_wait() {
    let name = "outages::without_postgresql_known_nodes_come_back_and_new_ones_are_told_to_wait";
    let Some((mut split, mut clients)) = split(name, 4) else {
        return;
    };
    let key = split.key().unwrap();
    clients[0].join(&split.url(1), &key, "c1").unwrap();
    clients[1].join(&split.url(2), &key, "c2").unwrap();
    clients[3].join(&split.url(1), &key, "c4").unwrap();
    clients[0].wait_for_peers(&["c2", "c4"], SOON);
    split.bowline(&["nodes", "expire", "c4"]).unwrap();
    clients[3].wait_for_state("NeedsLogin", SOON);
    clients[0].wait_for_peers(&["c2"], SOON);
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let two = clients[1].ipv4().unwrap();
    reaches(&clients[0], &two, 7000);
    let shown = split.bowline(&["nodes", "show", "c1"]).unwrap();
    let node = shown["id"].as_u64().unwrap();
    split.postgres.kill9();

    // A new node is told to come back later.
    let (url, key_flag) = (
        format!("--login-server={}", split.url(1)),
        format!("--authkey={key}"),
    );
    let refused = clients[2].run(&["up", &url, &key_flag, "--hostname=c3", "--timeout=15s"]);
    assert!(refused.is_err(), "{refused:?}");
    let is_told_to_wait = |client: &Client| {
        let log = client.log();
        log.contains("503") && log.contains("try again in a few seconds")
    };
    assert!(is_told_to_wait(&clients[2]), "{}", clients[2].log());

    // A known node whose connection breaks has a new stream from the view of its gateway.
    let before = split.sessions(1, node);
    assert_eq!(before.begun, before.ended + 1, "the stream has lived on");
    let broken = clients[0].host.break_connections(8081).unwrap();
    assert!(broken > 0, "the client has a connection");
    wait_for("a new stream of the known node", MINUTE, || {
        let sessions = split.sessions(1, node);
        if sessions.begun > before.begun && sessions.begun > sessions.ended {
            Ok(())
        } else {
            Err(format!("{sessions:?}"))
        }
    });
    clients[0].wait_for_peers(&["c2"], SOON);
    reaches(&clients[0], &two, 7000);

    // So does one that starts anew: it registers the key it has again, and gets its map.
    clients[0].restart().unwrap();
    clients[0].wait_for_state("Running", MINUTE);
    clients[0].wait_for_peers(&["c2"], SOON);
    reaches(&clients[0], &two, 7000);

    // One whose key has ended is not let in by it.
    clients[3].restart().unwrap();
    wait_for("the ended client is told to wait", MINUTE, || {
        is_told_to_wait(&clients[3])
            .then_some(())
            .ok_or_else(|| clients[3].log())
    });
    assert_eq!(clients[0].peers(), ["c2"]);
    assert_ne!(clients[3].state(), "Running");

    split.postgres.restart().unwrap();
    wait_for("the new node joins after all", MINUTE, || {
        clients[2]
            .join(&split.url(1), &key, "c3")
            .map_err(|error| error.to_string())
    });
    clients[0].wait_for_peers(&["c2", "c3"], MINUTE);
    let again = split.bowline(&["nodes", "show", "c1"]).unwrap();
    assert_eq!(again["node_key"], shown["node_key"]);
}
