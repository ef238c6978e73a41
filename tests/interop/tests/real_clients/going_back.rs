//! Databases that go back to an earlier state under clients that are connected: a standby that is promoted without the end of the
//! log, and a backup that is restored. Peers hear of what is done afterwards, and nobody is called told who is not.

use std::{thread, time::Duration};

use bowline_interop::{Client, Release, Server, Split, inside, wait_for};
use serde_json::Value;

use super::{ECHO, MINUTE, SOON, hears_of, join_three, reaches, split};

/// How soon peers hear of a revocation after all that.
const TOLD: Duration = Duration::from_secs(2);

fn node_id(split: &Split, name: &str) -> u64 {
    let shown = split.bowline(&["nodes", "show", name]).unwrap();
    shown["id"].as_u64().unwrap()
}

/// Waits until the services answer again.
fn wait_until_served(split: &Split) {
    wait_for("the services answer", MINUTE, || {
        let tried = split.bowline(&["nodes", "list"]);
        let tried = tried.and_then(|_| split.bowline(&["users", "list"]));
        tried
            .and_then(|_| split.bowline(&["policy", "history"]))
            .map_err(|error| error.to_string())
    });
}

/// Expires a node's key, and checks that peers on both gateways hear of it, and the receipt is right.
fn expire(split: &Split, node: &str, peers: &[(&Client, &[&str])]) {
    thread::scope(|scope| {
        let told: Vec<_> = peers
            .iter()
            .map(|(peer, left)| scope.spawn(|| peer.wait_for_peers(left, SOON)))
            .collect();
        let receipt = split.bowline(&["nodes", "expire", node]).unwrap();
        for told in told {
            let took = told.join().unwrap();
            assert!(took < TOLD, "a peer heard of it after {took:?}");
        }
        // The receipt leaves no gateway out.
        let gateways = receipt["gateways"].as_array().unwrap();
        assert_eq!(gateways.len(), 2, "{receipt}");
    });
    wait_for("both gateways to have applied it", SOON, || {
        let receipt = split.bowline(&["nodes", "expire", node]).unwrap();
        let gateways = receipt["gateways"].as_array().unwrap();
        let is_applied = |one: &Value| one["state"] == "applied";
        match gateways.len() == 2 && gateways.iter().all(is_applied) {
            true => Ok(()),
            false => Err(receipt.to_string()),
        }
    });
}

/// Checks that trails of two owners at least say why an epoch began, and that none is broken.
fn check_audit(split: &Split, reason: &str) {
    let trail = split
        .bowline(&["audit", "list", "--limit", "1000"])
        .unwrap();
    let begun = trail.as_array().unwrap().iter();
    let begun = begun.filter(|entry| {
        entry["action"] == "epoch.begin" && entry["detail"].to_string().contains(reason)
    });
    assert!(begun.count() >= 2, "{trail}");
    // It fails where a trail is broken.
    split.bowline(&["audit", "verify"]).unwrap();
}

#[test]
fn server_of_one_process_moves_to_separate_services_and_its_clients_stay_who_they_are() {
    let name = "going_back::server_of_one_process_moves_to_separate_services_and_its_clients_stay_who_they_are";
    let Some(hosts) = inside(name, 3) else {
        return;
    };
    let mut clients: Vec<_> = hosts
        .into_iter()
        .map(|host| Client::start(host, Release::Current, &[]).unwrap())
        .collect();
    let server = Server::start_here(8081).unwrap();
    let key = server.key().unwrap();
    for (client, name) in clients.iter().zip(["c1", "c2"]) {
        client.join(&server.url, &key, name).unwrap();
    }
    clients[0].wait_for_peers(&["c2"], SOON);
    let addresses = [0, 1].map(|client| clients[client].ipv4().unwrap());
    let registrations = clients[1].registrations();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let split = Split::start_moved(server).unwrap();
    assert_eq!(split.url(1), "http://10.77.0.1:8081");
    // A key of before still lets in, and those who were in hear of it.
    clients[2].join(&split.url(2), &key, "c3").unwrap();
    clients[0].wait_for_peers(&["c2", "c3"], MINUTE);
    clients[1].wait_for_peers(&["c1", "c3"], MINUTE);
    let after = [0, 1].map(|client| clients[client].ipv4().unwrap());
    assert_eq!(addresses, after);
    assert_eq!(clients[1].registrations(), registrations, "nobody logs in");
    reaches(&clients[0], &addresses[1], 7000);
}

#[test]
fn standby_promoted_without_the_end_of_the_log_is_noticed_by_all() {
    let name = "going_back::standby_promoted_without_the_end_of_the_log_is_noticed_by_all";
    let Some((mut split, mut clients)) = split(name, 4) else {
        return;
    };
    let key = split.key().unwrap();
    join_three(&split, &clients, &key);
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    let two = clients[1].ipv4().unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    reaches(&clients[0], &two, 7000);
    let standby = split.postgres.start_standby().unwrap();
    standby.catch_up_with(&split.postgres).unwrap();
    standby.stop_following().unwrap();

    // What is lost: a node, users, a name, a policy.
    clients[3].join(&split.url(1), &key, "c4").unwrap();
    clients[0].wait_for_peers(&["c2", "c3", "c4"], SOON);
    let lost = node_id(&split, "c4");
    let made = (0..20).map(|number| {
        let login = format!("lost{number}@example.com");
        let made = split.bowline(&["users", "create", &login]).unwrap();
        made["id"].as_u64().unwrap()
    });
    let highest_user = made.max().unwrap();
    for _ in 0..10 {
        for renamed in ["c1-lost", "c1", "c1-lost"] {
            let own = if renamed == "c1" { "c1-lost" } else { "c1" };
            split.bowline(&["nodes", "rename", own, renamed]).unwrap();
        }
        split
            .bowline(&["nodes", "rename", "c1-lost", "c1"])
            .unwrap();
    }
    split
        .bowline(&["nodes", "rename", "c1", "c1-lost"])
        .unwrap();
    hears_of(&clients[1], "c1-lost", SOON);

    split.postgres.replace_by_standby(standby).unwrap();
    wait_until_served(&split);
    // Nodes that are there stay connected with their addresses; the lost one is nobody's peer.
    clients[0].wait_for_peers(&["c2", "c3"], MINUTE);
    clients[1].wait_for_peers(&["c1", "c3"], MINUTE);
    hears_of(&clients[1], "c1", MINUTE);
    assert_eq!(clients[1].ipv4().unwrap(), two);
    reaches(&clients[0], &two, 7000);
    expire(
        &split,
        "c3",
        &[(&clients[0], &["c2"]), (&clients[1], &["c1"])],
    );
    // Numbers go on above those that were given.
    clients[3].wait_for_state("NeedsLogin", MINUTE);
    clients[3].join(&split.url(1), &key, "c5").unwrap();
    assert!(node_id(&split, "c5") > lost);
    let made = split.bowline(&["users", "create", "new@example.com"]);
    assert!(made.unwrap()["id"].as_u64().unwrap() > highest_user);
    clients[0].wait_for_peers(&["c2", "c5"], MINUTE);
    clients[1].wait_for_peers(&["c1", "c5"], MINUTE);
    check_audit(&split, "another server or timeline");
}

#[test]
fn backup_restored_under_running_gateways_is_noticed_by_all() {
    let name = "going_back::backup_restored_under_running_gateways_is_noticed_by_all";
    let Some((mut split, mut clients)) = split(name, 4) else {
        return;
    };
    let key = split.key().unwrap();
    join_three(&split, &clients, &key);
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    let two = clients[1].ipv4().unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    let file = file.to_str().unwrap();
    let url = split.database_url().to_owned();
    split
        .bowline(&["backup", file, "--database", &url])
        .unwrap();

    clients[3].join(&split.url(1), &key, "c4").unwrap();
    clients[0].wait_for_peers(&["c2", "c3", "c4"], SOON);
    let lost = node_id(&split, "c4");
    split.bowline(&["nodes", "delete", "c3"]).unwrap();
    clients[0].wait_for_peers(&["c2", "c4"], SOON);
    clients[2].wait_for_state("NeedsLogin", SOON);
    let restore = ["restore", file, "--replace", "--database", &url];
    let refused = split.bowline(&restore).unwrap_err().to_string();
    assert!(refused.contains("end all services"), "{refused}");

    for owner in ["identity", "key-registry", "policy-compiler"] {
        split.kill9(owner);
    }
    let (undone, _) = wait_for("the restore", MINUTE, || {
        split.bowline(&restore).map_err(|error| error.to_string())
    });
    let undone = undone["undone"].to_string();
    assert!(undone.contains("node.delete"), "not silent: {undone}");
    // Without the owners the clients go on as they were.
    reaches(&clients[0], &two, 7000);
    for owner in ["identity", "key-registry", "policy-compiler"] {
        split.start_service(owner).unwrap();
    }
    wait_until_served(&split);
    clients[0].wait_for_peers(&["c2", "c3"], MINUTE);
    clients[1].wait_for_peers(&["c1", "c3"], MINUTE);
    assert_eq!(clients[1].ipv4().unwrap(), two);
    reaches(&clients[0], &two, 7000);
    expire(
        &split,
        "c3",
        &[(&clients[0], &["c2"]), (&clients[1], &["c1"])],
    );
    clients[3].wait_for_state("NeedsLogin", MINUTE);
    clients[3].join(&split.url(1), &key, "c5").unwrap();
    assert!(node_id(&split, "c5") > lost);
    check_audit(&split, "a backup was restored");
}
