//! Two accounts of one person that become one, with the devices of both.

use bowline_interop::{Client, Release};

use super::{ECHO, SOON, joined, reaches};

const OLD: &str = "kim@old.example.com";
const NEW: &str = "kim@example.com";

#[test]
fn devices_of_merged_accounts_stay_connected_and_reach_what_the_one_account_may() {
    let Some((network, server, mut servers)) = joined(1, &[]) else {
        return;
    };
    servers[0].serve_echo(ECHO, 7000).unwrap();
    let target = servers[0].ipv4().unwrap();
    let policy = format!(
        r#"{{"acls": [{{"action": "accept", "src": ["{NEW}"], "dst": ["owner@home:7000"]}}]}}"#
    );
    server.set_policy(&policy).unwrap();
    let devices = [(OLD, "laptop"), (NEW, "phone")].map(|(person, name)| {
        server.bowline(&["users", "create", person]).unwrap();
        let key = server
            .bowline(&["keys", "create", "--user", person])
            .unwrap();
        let device = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
        let key = key["secret"].as_str().unwrap();
        device.join(&server.url, key, name).unwrap();
        device
    });
    reaches(&devices[1], &target, 7000);
    assert!(devices[0].echo(&target, 7000, "hello").is_err());
    let addresses = devices.each_ref().map(|device| device.ipv4().unwrap());

    server.bowline(&["users", "merge", OLD, NEW]).unwrap();
    reaches(&devices[0], &target, 7000);
    reaches(&devices[1], &target, 7000);
    servers[0].wait_for_peers(&["laptop", "phone"], SOON);
    assert_eq!(
        devices.each_ref().map(|device| device.ipv4().unwrap()),
        addresses
    );
    let nodes = server.bowline(&["nodes", "list"]).unwrap();
    let owners = nodes.as_array().unwrap().iter();
    let owners: Vec<_> = owners.map(|node| node["user"].as_str().unwrap()).collect();
    assert_eq!(
        owners.iter().filter(|owner| **owner == NEW).count(),
        2,
        "{nodes}"
    );
    let users = server.bowline(&["users", "list"]).unwrap().to_string();
    assert!(!users.contains(OLD), "{users}");
}
