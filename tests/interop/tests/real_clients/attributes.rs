//! Custom attributes, as connected clients feel them.

use std::{fs, time::Instant};

use bowline_interop::{Client, wait_for};
use serde_json::Value;

use super::{ECHO, SECOND, SOON, joined, reaches, split};

/// One port is open to all, one to devices with an attribute of an administrator, one to those with an attribute that they set
/// for themselves.
const POLICY: &str = r#"{
    "attrConfig": {"custom:health": {"type": "string", "allowSetByNode": true}},
    "postures": {"posture:access": ["custom:access == true"], "posture:healthy": ["custom:health == 'good'"]},
    "acls": [
        {"action": "accept", "src": ["*"], "dst": ["*:7000"]},
        {"action": "accept", "src": ["*"], "dst": ["*:7001"], "srcPosture": ["posture:access"]},
        {"action": "accept", "src": ["*"], "dst": ["*:7002"], "srcPosture": ["posture:healthy"]},
    ],
}"#;

/// How long the attribute lasts, and how late its end may reach a client.
const LIFE: u32 = 10;
const LATE: u32 = 3;

/// What a client prints of its own attributes.
fn set_own(client: &Client, update: &str) -> Result<String, String> {
    let patch = [
        "debug",
        "localapi",
        "PATCH",
        "alpha-set-device-attrs",
        update,
    ];
    client.run(&patch).map_err(|error| error.to_string())
}

/// Says whether a client lets anybody in at a port.
fn is_open(netmap: &Value, port: u16) -> bool {
    netmap["PacketFilter"]
        .to_string()
        .contains(&format!("\"First\":{port}"))
}

fn is_closed(client: &Client, address: &str, port: u16) -> bool {
    client.echo_within(2, address, port, "hello").is_err()
}

/// Gives the first client access to the second for ten seconds.
fn give_access(bowline: impl Fn(&[&str]) -> Value, clients: &mut [Client]) {
    let (one, two) = (clients[0].ipv4().unwrap(), clients[1].ipv4().unwrap());
    for client in &mut clients[..2] {
        client.serve_echo(ECHO, 7000).unwrap();
        client.serve_echo(ECHO, 7001).unwrap();
    }
    reaches(&clients[0], &two, 7000);
    assert!(is_closed(&clients[0], &two, 7001));

    let begin = Instant::now();
    let life = format!("{LIFE}s");
    let set = [
        "attributes",
        "set",
        "c1",
        "custom:access=true",
        "--expires",
        &life,
    ];
    let shown = bowline(&set);
    assert_eq!(shown[0]["value"], true);
    clients[1].wait_for_netmap("the port opens", |netmap| is_open(netmap, 7001));
    reaches(&clients[0], &two, 7001);
    assert!(
        is_closed(&clients[1], &one, 7001),
        "the other client has no access"
    );
    assert!(begin.elapsed() < SECOND * LIFE, "the port was open in time");

    clients[1].wait_for_netmap("the port closes", |netmap| !is_open(netmap, 7001));
    let end = begin.elapsed();
    assert!(end >= SECOND * LIFE, "after {end:?}");
    assert!(end < SECOND * (LIFE + LATE), "after {end:?}");
    assert!(is_closed(&clients[0], &two, 7001));
    reaches(&clients[0], &two, 7000);
    assert_eq!(
        bowline(&["attributes", "list"]).as_array().unwrap().len(),
        0
    );
    println!("access for {LIFE} s ended {:?} after it was given", end);
}

#[test]
fn attribute_is_access_for_a_while() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    server.set_policy(POLICY).unwrap();
    give_access(|arguments| server.bowline(arguments).unwrap(), &mut clients);
}

#[test]
fn access_for_a_while_ends_at_other_gateways_too() {
    let name = "attributes::access_for_a_while_ends_at_other_gateways_too";
    let Some((split, mut clients)) = split(name, 2) else {
        return;
    };
    let key = split.key().unwrap();
    for (client, gateway) in clients.iter().zip([1, 2]) {
        let hostname = format!("c{gateway}");
        client.join(&split.url(gateway), &key, &hostname).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.hujson");
    fs::write(&file, POLICY).unwrap();
    let file = file.display().to_string();
    split.bowline(&["policy", "set", &file]).unwrap();
    give_access(|arguments| split.bowline(arguments).unwrap(), &mut clients);
}

#[test]
fn client_sets_for_itself_what_the_policy_leaves_to_it() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    server.set_policy(POLICY).unwrap();
    let two = clients[1].ipv4().unwrap();
    clients[1].serve_echo(ECHO, 7002).unwrap();
    assert!(is_closed(&clients[0], &two, 7002));
    set_own(&clients[0], r#"{"custom:health": "good"}"#).unwrap();
    reaches(&clients[0], &two, 7002);

    for (update, words) in [
        (
            r#"{"custom:access": true}"#,
            "the policy does not let devices set custom:access",
        ),
        (
            r#"{"custom:health": 7}"#,
            "custom:health is a string by attrConfig",
        ),
        (
            r#"{"custom:health": "good", "node:os": "macos"}"#,
            "is none",
        ),
    ] {
        let refused = set_own(&clients[0], update).unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    // What the client reports is known, too.
    let known = server.bowline(&["attributes", "list", "c1"]).unwrap();
    let value = |name: &str| {
        let mut known = known.as_array().unwrap().iter();
        known
            .find(|one| one["name"] == name)
            .map(|one| one["value"].clone())
    };
    assert_eq!(value("custom:health"), Some("good".into()));
    assert_eq!(value("node:os"), Some("linux".into()));
    assert_eq!(value("node:tsAutoUpdate"), Some(false.into()));
    assert!(value("node:osVersion").is_some(), "{known}");

    set_own(&clients[0], r#"{"custom:health": null}"#).unwrap();
    wait_for("the port closes", SOON, || {
        match is_closed(&clients[0], &two, 7002) {
            true => Ok(()),
            false => Err("it still answers".to_owned()),
        }
    });
    let shown = server.bowline(&["nodes", "show", "c1"]).unwrap();
    assert_eq!(shown["attributes"], serde_json::json!([]));
}
