//! Pairs of clients whose direct path is blocked: real packets, not a setting of the client.

use bowline_interop::{Client, Device, Release, Server, TestNetwork};

use super::{ECHO, SOON, joined, reaches};

#[test]
fn clients_whose_direct_path_is_blocked_talk_through_the_relay() {
    let Some((_network, _server, clients)) = joined(2, &[]) else {
        return;
    };
    moves_to_the_relay_and_back(clients);
}

#[test]
fn clients_that_know_no_hashes_of_certificates_talk_through_the_relay() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let key = server.key().unwrap();
    let clients = [("c1", Release::Nacl), ("c2", Release::Nacl)].map(|(name, release)| {
        let client = Client::start(network.host().unwrap(), release, &[]).unwrap();
        client.join(&server.url, &key, name).unwrap();
        client
    });
    moves_to_the_relay_and_back(clients.into());
}

#[test]
fn clients_with_a_kernel_device_talk_directly_and_through_the_relay() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    if !Device::Tun.is_available() {
        println!("LEFT OUT: clients with a kernel device: this machine has no /dev/net/tun");
        return;
    }
    let server = Server::start(network.host().unwrap(), "").unwrap();
    let key = server.key().unwrap();
    let clients = ["c1", "c2"].map(|name| {
        let client = Client::start_tun(network.host().unwrap()).unwrap();
        client.join(&server.url, &key, name).unwrap();
        client
    });
    moves_to_the_relay_and_back(clients.into());
}

/// Blocks every packet between two clients, and lets them pass again.
fn moves_to_the_relay_and_back(mut clients: Vec<Client>) {
    let two = clients[1].ipv4().unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    let direct = format!("{}:41641", clients[1].host.address);
    let comes_by = |path: &str| {
        clients[0].wait_for_path(&two, path);
        reaches(&clients[0], &two, 7000);
    };
    comes_by(&direct);
    for isolated in [true, false] {
        for client in &clients {
            client.host.set_isolated(isolated).unwrap();
        }
        comes_by(if isolated { "DERP(bowline)" } else { &direct });
    }
}
