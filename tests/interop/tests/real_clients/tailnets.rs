//! Several tailnets on one server: nothing crosses.

use bowline_interop::{Client, Release};

use super::{ECHO, SOON, joined, reaches};

#[test]
fn clients_of_two_tailnets_neither_see_nor_reach_each_other() {
    let Some((network, server, mut clients)) = joined(2, &[]) else {
        return;
    };
    clients[1].serve_echo(ECHO, 7000).unwrap();
    let two = clients[1].ipv4().unwrap();
    reaches(&clients[0], &two, 7000);

    server.bowline(&["tailnets", "create", "work"]).unwrap();
    let user = ["users", "create", "amira@example.com", "--tailnet", "work"];
    server.bowline(&user).unwrap();
    let key = [
        "keys",
        "create",
        "--user",
        "amira@example.com",
        "--reusable",
        "--tailnet",
        "work",
    ];
    let key = server.bowline(&key).unwrap();
    let key = key["secret"].as_str().unwrap();
    let mut others = Vec::new();
    for name in ["w1", "w2"] {
        let other = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
        other.join(&server.url, key, name).unwrap();
        others.push(other);
    }
    others[0].wait_for_peers(&["w2"], SOON);
    others[1].wait_for_peers(&["w1"], SOON);
    // Two tailnets may have the same addresses: w2's is c2's, and it is w2 that answers to w1.
    assert_eq!(others[1].ipv4().unwrap(), two);
    others[1].serve_echo(ECHO, 7001).unwrap();
    reaches(&others[0], &two, 7001);
    assert!(others[0].echo(&two, 7000, "hello").is_err(), "c2's port");
    assert!(clients[0].echo(&two, 7001, "hello").is_err(), "w2's port");

    // A policy of one means nothing in the other, nor does the end of a node.
    server.set_policy_of("work", r#"{"acls": []}"#).unwrap();
    others[0].wait_for_peers(&[], SOON);
    clients[0].wait_for_peers(&["c2"], SOON);
    reaches(&clients[0], &two, 7000);
    let refused = server.bowline(&["nodes", "show", "c1", "--tailnet", "work"]);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("there is no node")
    );
    let unclear = server.bowline(&["nodes", "list"]);
    assert!(unclear.unwrap_err().to_string().contains("--tailnet"));
}
