//! Two machines with one node key: a disk and its copy.

use bowline_interop::{Client, Release, Server, TestNetwork, wait_for};

use super::{ECHO, MINUTE, SOON, reaches};

#[test]
fn copy_of_a_disk_contests_its_seat_slowly_and_leaves_the_first_reachable() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let key = server.key().unwrap();
    let clients = ["c1", "c2"].map(|name| {
        let client = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
        client.join(&server.url, &key, name).unwrap();
        client
    });
    let [watcher, mut first] = clients;
    let address = first.ipv4().unwrap();
    first.serve_echo(ECHO, 7000).unwrap();
    watcher.wait_for_peers(&["c2"], SOON);
    reaches(&watcher, &address, 7000);
    let node = server.bowline(&["nodes", "show", "c2"]).unwrap()["id"]
        .as_u64()
        .unwrap();
    let before = server.sessions(node).begun;

    let copy = first.copy(network.host().unwrap()).unwrap();
    copy.wait_for_state("Running", SOON);
    // Each waits for twice as long as the time before, up to a quarter of a minute.
    wait_for("they wait as long as they ever do", 2 * MINUTE, || {
        let log = server.log();
        let mut contests = log
            .lines()
            .filter(|line| line.contains("two machines use the key of one node"));
        contests
            .any(|line| line.contains("\"wait_seconds\":15"))
            .then_some(())
            .ok_or(log)
    });
    // Two, four and eight seconds, for each of them.
    let contested = server.sessions(node).begun;
    assert!(contested - before <= 12, "{before} to {contested} sessions");
    let shown = server.bowline(&["nodes", "show", "c2"]).unwrap();
    assert!(!shown["key_shared_at"].is_null(), "{shown}");

    drop(copy);
    reaches(&watcher, &address, 7000);
    let direct = format!("{}:41641", first.host.address);
    watcher.wait_for_path(&address, &direct);
    assert_eq!(first.state(), "Running");
}
