//! Edits of the policy, as connected clients feel them.

use bowline_interop::{is_possible, wait_for};

use super::{ECHO, SOON, joined, reaches};

#[test]
fn policy_edit_closes_one_port_and_leaves_the_other_open() {
    if !is_possible() {
        return;
    }
    let (_lab, server, mut clients) = joined(2, &[]);
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
