//! What an operator sees who starts the files of `deploy/compose`, with real clients.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod backup;
mod figures;
mod full_stack;
mod other_files;
mod single;
mod standby;
mod upgrades;

use std::{path::Path, time::Duration};

use bowline_interop::{Client, ComposeStack, DockerEngine, Release, TestNetwork, wait_for};
use serde_json::Value;

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const MINUTE: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;
/// The owners of hard state.
const OWNERS: [&str; 3] = ["identity", "key-registry", "policy-compiler"];
/// The services of the full stack, each in a container of its name.
const SERVICES: [&str; 9] = [
    "gateway-1",
    "gateway-2",
    "identity",
    "key-registry",
    "policy-compiler",
    "relay",
    "balancer",
    "redis",
    "postgres",
];

/// A stack on a network of its own; `None` where it can not run.
fn start_stack(file: &'static str) -> Option<(TestNetwork, ComposeStack)> {
    let network = TestNetwork::new().unwrap()?;
    let host = network.host().unwrap();
    let engine = DockerEngine::start(&host).unwrap()?;
    let stack = ComposeStack::start(engine, file, &host.address).unwrap();
    Some((network, stack))
}

/// Starts a client that trusts an authority; it has not joined.
fn start_client(network: &TestNetwork, authority: &Path) -> Client {
    let trusted = authority.display().to_string();
    let environment = [("SSL_CERT_FILE", &*trusted)];
    Client::start(network.host().unwrap(), Release::Current, &environment).unwrap()
}

/// Starts two clients that join with a key.
fn join_two(
    network: &TestNetwork,
    stack: &ComposeStack,
    authority: &Path,
    key: &str,
) -> [Client; 2] {
    ["c1", "c2"].map(|name| {
        let mut client = start_client(network, authority);
        client.join(&stack.url(), key, name).unwrap();
        client.serve_echo(ECHO, PORT).unwrap();
        client
    })
}

/// Waits until a change is accepted and a client sees it, and clients reach each other.
fn converges(stack: &ComposeStack, clients: &[Client], name: &str) {
    wait_for(&format!("{name} is accepted"), MINUTE, || {
        let renamed = stack.bowline(&["nodes", "rename", "2", name]);
        renamed.map_err(|error| error.to_string())
    });
    let known = format!("{name}.home");
    wait_for(&format!("the other client hears of {name}"), MINUTE, || {
        let status = clients[0].status().unwrap_or_default().to_string();
        match status.contains(&known) {
            true => Ok(()),
            false => Err(status),
        }
    });
    let address = clients[1].ipv4().unwrap();
    wait_for("the clients reach each other", MINUTE, || {
        let answer = clients[0].echo(&address, PORT, "hello");
        answer.map_err(|error| error.to_string())
    });
}

/// Every container has no rights, writes nowhere but into what it is given, and runs as an account of its own.
fn check_confinement(container: &Value) {
    let name = &container["Name"];
    let host = &container["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true, "{name}");
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{name}");
    assert_eq!(host["Privileged"], false, "{name}");
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges"), "{name}: {options}");
    let user = container["Config"]["User"].as_str().unwrap_or_default();
    assert!(!["", "0", "root"].contains(&user), "{name}: {user:?}");
}
