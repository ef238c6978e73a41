//! Edits of the policy, as connected clients feel them.

use bowline_interop::wait_for;

use super::{ECHO, SOON, joined, reaches};

#[test]
fn policy_edit_closes_one_port_and_leaves_the_other_open() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    clients[0].wait_for_peers(&["c2"], SOON);
    let two = clients[1].ipv4().unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    clients[1].serve_echo(ECHO, 7001).unwrap();
    let policy = |ports: &str| {
        format!(r#"{{"acls": [{{"action": "accept", "src": ["*"], "dst": ["*:{ports}"]}}]}}"#)
    };
    let closes = |port: u16| {
        wait_for(&format!("port {port} closes"), SOON, || {
            match clients[0].echo(&two, port, "hello") {
                Ok(_) => Err("it still answers".to_owned()),
                Err(_) => Ok(()),
            }
        })
    };
    for port in [7000, 7001] {
        reaches(&clients[0], &two, port);
    }
    for (open, closed) in [(7001, 7000), (7000, 7001)] {
        server.set_policy(&policy(&open.to_string())).unwrap();
        closes(closed);
        let answer = clients[0].echo(&two, open, "hello");
        assert_eq!(
            answer.unwrap(),
            "hello",
            "port {open} while {closed} is closed"
        );
    }
    server.set_policy(&policy("7000-7001")).unwrap();
    for port in [7000, 7001] {
        reaches(&clients[0], &two, port);
    }
}

/// A policy of grants: the owner reaches tagged nodes on one port, with a capability; nothing else.
const GRANTS: &str = r#"{
    "tagOwners": {"tag:web": ["owner@home"]},
    "autoApprovers": {"routes": {"10.78.0.0/16": ["tag:web"]}},
    "grants": [
        {"src": ["owner@home"], "dst": ["tag:web"], "ip": ["tcp:7000"], "app": {"example.com/cap/read": [{"all": true}]}},
        {"src": ["owner@home"], "dst": ["10.77.0.0/16", "10.78.0.0/16"], "ip": ["*"]},
    ],
    "ssh": [{"action": "accept", "src": ["owner@home"], "dst": ["tag:web"], "users": ["autogroup:nonroot"]}],
    "nodeAttrs": [{"target": ["tag:web"], "attr": ["nextdns:abc"]}],
}"#;

#[test]
fn grants_tags_routes_and_ssh_rules_reach_connected_clients() {
    let Some((_network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    clients[0].wait_for_peers(&["c2"], SOON);
    let (one, two) = (clients[0].ipv4().unwrap(), clients[1].ipv4().unwrap());
    clients[1].serve_echo(ECHO, 7000).unwrap();
    clients[1].serve_echo(ECHO, 7001).unwrap();
    reaches(&clients[0], &two, 7001);

    // Nothing is granted to a node of a user.
    server.set_policy(GRANTS).unwrap();
    clients[0].wait_for_peers(&[], SOON);
    let explained = server.bowline(&["policy", "explain", "c1", "c2"]).unwrap();
    assert_eq!(
        (&explained["allowed"], &explained["only_source"][0]["line"]),
        (&false.into(), &5.into())
    );

    server.bowline(&["nodes", "tag", "c2", "tag:web"]).unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    reaches(&clients[0], &two, 7000);
    assert!(
        clients[0].echo(&two, 7001, "hello").is_err(),
        "only one port is granted"
    );
    let explained = server.bowline(&["policy", "explain", "c1", "c2"]).unwrap();
    assert_eq!(explained["allowed_by"][0]["line"], 5);
    clients[1].wait_for_netmap("the SSH rule arrives", |netmap| {
        netmap["SSHPolicy"]["rules"][0]["sshUsers"]["*"] == "="
    });
    clients[1].wait_for_netmap("the attribute arrives", |netmap| {
        netmap["SelfNode"]["CapMap"].get("nextdns:abc").is_some()
    });
    let whois = clients[1].run(&["whois", "--json", &one]).unwrap();
    assert!(whois.contains("example.com/cap/read"), "{whois}");

    // One route waits for an administrator, the other is approved by the policy.
    clients[1]
        .run(&["set", "--advertise-routes=10.77.0.0/24,10.78.1.0/24"])
        .unwrap();
    let routed = |expected: &[&str]| {
        wait_for(
            &format!("routes {expected:?} are seen"),
            SOON,
            || match clients[0].routes_of("c2") {
                found if found == expected => Ok(()),
                found => Err(format!("{found:?}")),
            },
        );
    };
    routed(&["10.78.1.0/24"]);
    server
        .bowline(&[
            "nodes",
            "approve-routes",
            "c2",
            "10.77.0.0/24",
            "10.78.1.0/24",
        ])
        .unwrap();
    routed(&["10.77.0.0/24", "10.78.1.0/24"]);
    server
        .set_policy(&GRANTS.replace("\"10.77.0.0/16\", ", ""))
        .unwrap();
    routed(&["10.78.1.0/24"]);
}
