//! DNS settings, as connected clients resolve with them.

use bowline_interop::{Client, wait_for};

use super::{SOON, joined};

/// Waits until a client answers a name with a text in it, or without.
fn answers(client: &Client, name: &str, kind: &str, expected: &str) {
    wait_for(&format!("{name} is {expected}"), SOON, || {
        let said = client.run(&["dns", "query", name, kind]);
        let said = said.unwrap_or_else(|error| error.to_string());
        if said.contains(expected) {
            Ok(())
        } else {
            Err(said)
        }
    });
}

#[test]
fn dns_settings_reach_connected_clients_without_a_reconnect() {
    let Some((_network, server, clients)) = joined(2, &[]) else {
        return;
    };
    let (client, registrations) = (&clients[0], clients[0].registrations());
    client.wait_for_peers(&["c2"], SOON);
    let two = clients[1].ipv4().unwrap();
    answers(client, "c2.home.bowline.internal", "A", &two);

    for (name, kind, value) in [
        ("printer.home.bowline.internal", "A", "100.64.9.9"),
        ("wiki.example.test", "A", "10.9.9.9"),
        ("wiki.example.test", "AAAA", "fd7a:115c:a1e0::99"),
    ] {
        server
            .bowline(&["dns", "records", "add", name, kind, value])
            .unwrap();
        answers(client, name, kind, value);
    }
    for arguments in [
        &["nameservers", "set", "10.1.1.1"][..],
        &["override", "on"],
        &["search", "set", "corp.example.test"],
        &["split", "set", "corp.example.test", "10.2.2.2"],
    ] {
        server.bowline(&[&["dns"][..], arguments].concat()).unwrap();
    }
    let has = |text: &str, is_there: bool| {
        wait_for(&format!("{text} in the settings: {is_there}"), SOON, || {
            let said = client.run(&["dns", "status"]).unwrap();
            if said.contains(text) == is_there {
                Ok(())
            } else {
                Err(said)
            }
        });
    };
    for text in ["10.1.1.1", "corp.example.test", "10.2.2.2"] {
        has(text, true);
    }
    server
        .bowline(&["dns", "split", "remove", "corp.example.test"])
        .unwrap();
    has("10.2.2.2", false);
    server
        .bowline(&["dns", "records", "remove", "printer.home.bowline.internal"])
        .unwrap();
    answers(client, "printer.home.bowline.internal", "A", "NameError");

    // Another suffix: all names end otherwise.
    server
        .bowline(&["dns", "suffix", "corp.example.test"])
        .unwrap();
    answers(client, "c2.corp.example.test", "A", &two);

    // A pattern is no record, but a device can answer for all names below its own.
    let pattern = ["dns", "records", "add", "*.c2.corp.example.test", "A", &two];
    let refused = server.bowline(&pattern).unwrap_err().to_string();
    assert!(refused.contains("dns-subdomain-resolve"), "{refused}");
    let policy =
        format!(r#"{{"nodeAttrs": [{{"target": ["{two}"], "attr": ["dns-subdomain-resolve"]}}]}}"#);
    server.set_policy(&policy).unwrap();
    answers(client, "anything.c2.corp.example.test", "A", &two);

    server.bowline(&["dns", "magic", "off"]).unwrap();
    wait_for("MagicDNS is off", SOON, || {
        let said = client.run(&["dns", "status"]).unwrap();
        let lower = said.to_lowercase();
        if lower.contains("magicdns: disabled") {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(client.registrations(), registrations);
}
