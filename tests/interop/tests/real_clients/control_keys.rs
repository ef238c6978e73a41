//! Control keys that are rolled under clients of both transports.

use bowline_interop::{Client, Release, Server, TestNetwork, wait_for};

use super::{MINUTE, SOON, hears_of};

/// Waits until the gateway says that it has control keys in a state.
fn wait_for_state(server: &Server, state: &str) {
    wait_for(&format!("control keys are {state}"), MINUTE, || {
        let status = server
            .bowline(&["status"])
            .map_err(|error| error.to_string())?;
        let keys = status["gateways"][0]["control_keys"].clone();
        let keys = keys.as_array().cloned().unwrap_or_default();
        match keys.iter().filter(|key| key["state"] == state).count() {
            2 => Ok(()),
            _ => Err(format!("{keys:?}")),
        }
    });
}

/// Ends a client's connection and has it make another, in the same process: it keeps the control key that it knows.
fn reconnect(client: &Client) {
    client.run(&["down"]).unwrap();
    client.wait_for_state("Stopped", SOON);
    client.run(&["up"]).unwrap();
}

#[test]
fn clients_of_both_transports_go_on_while_the_control_keys_are_rolled() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let settings = "nacl_below = 89\nplain_http_boxes = true";
    let server = Server::start(network.host().unwrap(), settings).unwrap();
    let key = server.key().unwrap();
    let mut old = Client::start(network.host().unwrap(), Release::Nacl, &[]).unwrap();
    old.join(&server.url, &key, "old").unwrap();
    let mut new = Client::start(network.host().unwrap(), Release::Current, &[]).unwrap();
    new.join(&server.url, &key, "new").unwrap();
    new.wait_for_peers(&["old"], SOON);
    old.wait_for_peers(&["new"], SOON);
    let number = |name: &str| {
        let shown = server.bowline(&["nodes", "show", name]).unwrap();
        shown["id"].as_u64().unwrap()
    };
    let nodes = [number("old"), number("new")];
    let sessions = || nodes.map(|node| server.sessions(node));
    let held = sessions();
    let rename = |names: [&str; 2], to: [&str; 2]| {
        for (name, to) in names.into_iter().zip(to) {
            server.bowline(&["nodes", "rename", name, to]).unwrap();
        }
    };

    server.bowline(&["control-keys", "prepare"]).unwrap();
    wait_for_state(&server, "prepared");
    let activate = ["control-keys", "activate", "--wait", "60s"];
    server.bowline(&activate).unwrap();
    wait_for_state(&server, "old");
    rename(["old", "new"], ["old-1", "new-1"]);
    hears_of(&new, "old-1", SOON);
    hears_of(&old, "new-1", SOON);
    assert_eq!(sessions(), held, "the same long polls as before");

    // They come back with the key that they know.
    for client in [&old, &new] {
        reconnect(client);
        client.wait_for_state("Running", MINUTE);
    }
    rename(["old-1", "new-1"], ["old-2", "new-2"]);
    hears_of(&new, "old-2", MINUTE);
    hears_of(&old, "new-2", MINUTE);

    // One has been started again when the old keys are retired, and the other has not.
    new.restart().unwrap();
    new.wait_for_state("Running", MINUTE);
    let retire = ["control-keys", "retire", "--wait", "60s"];
    server.bowline(&retire).unwrap();
    wait_for("the old keys are gone", MINUTE, || {
        let status = server
            .bowline(&["status"])
            .map_err(|error| error.to_string())?;
        let keys = &status["gateways"][0]["control_keys"];
        match keys.as_array().map(Vec::len) {
            Some(2) => Ok(()),
            _ => Err(keys.to_string()),
        }
    });
    reconnect(&new);
    new.wait_for_state("Running", MINUTE);
    rename(["old-2", "new-2"], ["old-3", "new-3"]);
    hears_of(&new, "old-3", MINUTE);
    hears_of(&old, "new-3", SOON);

    reconnect(&old);
    wait_for("it is told to be started again", MINUTE, || {
        match old.log().contains("restart the client") {
            true => Ok(()),
            false => Err("it is not".to_owned()),
        }
    });
    old.restart().unwrap();
    old.wait_for_state("Running", MINUTE);
    rename(["old-3", "new-3"], ["old-4", "new-4"]);
    hears_of(&old, "new-4", MINUTE);
}
