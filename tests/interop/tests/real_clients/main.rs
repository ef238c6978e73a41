//! What a user of real clients sees.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod accounts;
mod administration;
mod approval;
mod attributes;
mod bad_input;
mod clones;
mod control_keys;
mod crowds;
mod dns;
mod drain;
mod going_back;
mod http;
mod idle;
mod join;
mod key_policy;
mod lock;
mod login;
mod moving;
mod networks;
mod oldest;
mod organisation;
mod outages;
mod passkeys;
mod policy;
mod proxies;
mod relay;
mod revocation;
mod rotation;
mod scim;
mod ssh;
mod standing;
mod tailnets;
mod upgrades;
mod websocket;

use std::time::Duration;

use bowline_interop::{Client, Release, Server, Split, TestNetwork, inside, wait_for};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const SOON: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A network with a server and joined clients of the current release, named c1, c2, …; `None` where clients can not run.
fn joined(
    clients: usize,
    environment: &[(&str, &str)],
) -> Option<(TestNetwork, Server, Vec<Client>)> {
    let network = TestNetwork::new().unwrap()?;
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let key = server.key().unwrap();
    let clients: Vec<_> = (1..=clients)
        .map(|number| {
            let client =
                Client::start(network.host().unwrap(), Release::Current, environment).unwrap();
            client
                .join(&server.url, &key, &format!("c{number}"))
                .unwrap();
            client
        })
        .collect();
    Some((network, server, clients))
}

/// The services of a scaled deployment with clients c1, c2, … that are not joined yet, inside the server's namespace;
/// `None` in the test around it.
fn split(test: &str, clients: usize) -> Option<(Split, Vec<Client>)> {
    split_with_drain(test, clients, 3)
}

/// The same, with the seconds that a process which is asked to end may take.
fn split_with_drain(test: &str, clients: usize, drain: u32) -> Option<(Split, Vec<Client>)> {
    let hosts = inside(test, clients)?;
    let clients = hosts
        .into_iter()
        .map(|host| Client::start(host, Release::Current, &[]).unwrap())
        .collect();
    Some((Split::start_with_drain(drain).unwrap(), clients))
}

/// Lets the first three clients join as `c1` at the first gateway, and as `c2` and `c3` at the second.
fn join_three(split: &Split, clients: &[Client], key: &str) {
    for ((client, gateway), name) in clients.iter().zip([1, 2, 2]).zip(["c1", "c2", "c3"]) {
        client.join(&split.url(gateway), key, name).unwrap();
    }
}

fn reaches(from: &Client, address: &str, port: u16) {
    wait_for(&format!("{address}:{port} answers"), SOON, || {
        from.echo(address, port, "hello")
            .map_err(|error| error.to_string())
    });
}

/// Waits until a client knows a peer under a name.
fn hears_of(client: &Client, name: &str, limit: Duration) {
    wait_for(&format!("the client hears of {name}"), limit, || {
        let status = client.status().unwrap_or_default().to_string();
        if status.contains(&format!("{name}.home")) {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
}

/// Waits until all owners answer administrators.
fn wait_for_owners(split: &Split) {
    wait_for("the owners serve", SOON, || {
        for listing in [["users", "list"], ["nodes", "list"], ["policy", "history"]] {
            split.bowline(&listing).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
}
