//! State that earlier versions left is opened by this one, and everything in it is as it was.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::{fs, path::Path};

use bowline_test_deployments::{Deployment, OneProcess, Separate};
use bowline_test_servers::PostgresServer;
use bowline_upgrade::{Device, Fixture, Record, Registered};
use serde_json::{Value, json};

#[test]
fn state_directories_of_earlier_versions_open_and_work() {
    for fixture in Fixture::all().unwrap() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path();
        fixture.unpack_state(state).unwrap();
        let before = certificates(state);
        let record = fixture.state_record().unwrap();

        let server = OneProcess::start(state, "http").unwrap();
        check(&server, &record);
        server.end().unwrap();

        // A second start finds what the first has made of it, and clients still trust the server they know.
        let server = OneProcess::start(state, "https").unwrap();
        let nodes = Record::of(&server).unwrap();
        assert!(nodes.tailnets["home"].nodes.len() > record.tailnets["home"].nodes.len());
        server.end().unwrap();
        assert_eq!(certificates(state), before);
    }
}

#[test]
fn databases_of_earlier_versions_open_and_work_with_separate_services() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    for fixture in Fixture::all().unwrap() {
        let place = tempfile::tempdir().unwrap();
        fixture.unpack_services(place.path()).unwrap();
        let database = postgres.new_database().unwrap();
        postgres
            .load(&database, &fixture.database().unwrap())
            .unwrap();
        let Some(server) = Separate::start(place.path(), &database).unwrap() else {
            return;
        };
        check(&server, &fixture.services_record().unwrap());
        server.end().unwrap();
    }
}

/// Returns what clients trust and pin.
fn certificates(state: &Path) -> Vec<Vec<u8>> {
    ["ca.pem", "127.0.0.1.pem", "relay.pem"]
        .map(|name| fs::read(state.join("tls").join(name)).unwrap())
        .into()
}

fn check(server: &dyn Deployment, record: &Record) {
    everything_is_listed_as_it_was(server, record);
    devices_come_back_without_a_registration(server, record);
    everything_is_listed_as_it_was(server, record);
    every_command_that_lists_works(server);
    policy_is_edited_and_a_device_joins(server, record);
    same_device_registers_again_as_the_same_node(server, record);
    relays_of_a_policy_stand_beside_our_own(server);
}

/// Compares part by part, so that a difference is readable.
#[track_caller]
fn everything_is_listed_as_it_was(server: &dyn Deployment, record: &Record) {
    let now = Record::of(server).unwrap();
    assert!(now.tailnets.keys().eq(record.tailnets.keys()));
    for (name, before) in &record.tailnets {
        let now = &now.tailnets[name];
        assert_eq!(now.settings, before.settings);
        assert_eq!(now.users, before.users, "{name}");
        assert_eq!(now.nodes.len(), before.nodes.len(), "{name}");
        for (now, before) in now.nodes.iter().zip(&before.nodes) {
            assert_eq!(now, before, "{name}");
        }
        assert_eq!(now.keys, before.keys, "{name}");
        assert_eq!(now.policies, before.policies, "{name}");
        assert_eq!(now.policy, before.policy, "{name}");
    }
}

/// Each device of the fixture asks for its netmap, reports itself as before, and gets the peers it had.
fn devices_come_back_without_a_registration(server: &dyn Deployment, record: &Record) {
    assert!(!record.devices.is_empty());
    for before in &record.devices {
        let (name, peers) = before.told(server).unwrap();
        assert_eq!(name, before.name);
        assert_eq!(peers, before.peers, "{name}");
    }
    for before in &record.devices {
        let device = before.device().unwrap();
        device.report(server.address(), &before.hostinfo).unwrap();
        let (name, peers) = before.told(server).unwrap();
        assert_eq!((&name, &peers), (&before.name, &before.peers));
    }
}

fn every_command_that_lists_works(server: &dyn Deployment) {
    for command in [&["status"][..], &["tailnets", "list"], &["logins", "list"]] {
        server.bowline(command).unwrap();
    }
    for command in [
        &["tailnets", "show"][..],
        &["users", "list"],
        &["users", "show", "owner@home"],
        &["nodes", "list"],
        &["nodes", "show", "chosen"],
        &["keys", "list"],
        &["policy", "get"],
        &["policy", "get", "--version", "1"],
        &["policy", "history"],
        &["policy", "inventory"],
        &["policy", "explain", "chosen", "by-key"],
    ] {
        let tailnet: &[&str] = match command {
            ["tailnets", "show"] => &["home"],
            _ => &["--tailnet", "home"],
        };
        server.bowline(&[command, tailnet].concat()).unwrap();
    }
}

/// A policy that lets nobody reach anybody is put in force and taken back, with a new device watching.
fn policy_is_edited_and_a_device_joins(server: &dyn Deployment, record: &Record) {
    let home = ["--tailnet", "home"];
    let bowline = |arguments: &[&str]| server.bowline(&[arguments, &home].concat()).unwrap();
    let made = bowline(&["keys", "create", "--user", "amira@example.com"]);
    let device = Device::new();
    let auth = json!({ "Auth": { "AuthKey": made["secret"] } });
    let host = json!({ "IPNVersion": "1.58.2", "OS": "linux", "Hostname": "newcomer" });
    let registered = device.register(server.address(), &host, &auth).unwrap();
    assert_eq!(registered, Registered::Node(true));
    let map = device.map(server.address()).unwrap();
    let node = map.node.unwrap();
    assert_eq!(node.name, "newcomer.home.bowline.internal.");
    let taken = record.tailnets["home"].nodes.iter();
    let mut taken =
        taken.flat_map(|node| [format!("{}/32", node.ipv4), format!("{}/128", node.ipv6)]);
    assert!(taken.all(|address| !node.addresses.contains(&address)));
    assert!(!map.peers.is_empty());

    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("policy.hujson");
    let file = file.display().to_string();
    fs::write(&file, r#"{"acls": []}"#).unwrap();
    let version = bowline(&["policy", "set", &file])["version"].as_u64();
    let known = record.tailnets["home"].policies.last().unwrap().version;
    assert_eq!(version, Some(known + 1));
    wait_for_peers(&device, server, |peers| peers == 0);
    bowline(&["policy", "rollback", &known.to_string()]);
    wait_for_peers(&device, server, |peers| peers == map.peers.len());
}

fn wait_for_peers(device: &Device, server: &dyn Deployment, is_so: impl Fn(usize) -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !is_so(device.map(server.address()).unwrap().peers.len()) {
        assert!(
            std::time::Instant::now() < deadline,
            "the policy is not seen"
        );
    }
}

/// A client that was started again registers with the key it has, and is the node it was.
fn same_device_registers_again_as_the_same_node(server: &dyn Deployment, record: &Record) {
    let before = &record.devices[0];
    let device = before.device().unwrap();
    let nothing = Value::default();
    let registered = device.register(server.address(), &before.hostinfo, &nothing);
    assert_eq!(registered.unwrap(), Registered::Node(true));
    assert_eq!(before.told(server).unwrap().0, before.name);
}

/// The policy of the tailnet "work" brings a region with the number that guides use.
fn relays_of_a_policy_stand_beside_our_own(server: &dyn Deployment) {
    let codes = |tailnet: &str, user: &str| {
        let create = ["keys", "create", "--tailnet", tailnet, "--user", user];
        let made = server.bowline(&create).unwrap();
        let device = Device::new();
        let auth = json!({ "Auth": { "AuthKey": made["secret"] } });
        let host = json!({ "IPNVersion": "1.58.2", "OS": "linux", "Hostname": "relayed" });
        device.register(server.address(), &host, &auth).unwrap();
        let map = device.map(server.address()).unwrap();
        let regions = map.derp_map.unwrap_or_default().regions.into_values();
        let mut codes: Vec<_> = regions.map(|region| region.region_code).collect();
        codes.sort();
        codes
    };
    let own = codes("home", "owner@home");
    assert!(own.is_empty() || own == ["bowline"], "{own:?}");
    let mut both = own;
    both.push("myderp".to_owned());
    assert_eq!(codes("work", "noor@example.com"), both);
}
