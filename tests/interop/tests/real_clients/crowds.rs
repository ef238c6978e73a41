//! Crowds of strangers, and a system that lets the server open few files.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bowline_interop::{Client, Host, Release, Server, inside};
use bowline_service_kit::descriptors;
use tokio::net::{TcpSocket, TcpStream};

use super::{MINUTE, SOON, http::http};

/// How many connections one of the four crowds keeps: all of them are more than the server may have, and few enough for this
/// process where the system lets it, too, open no more files than the server.
const MEMBERS: usize = 220;

/// Connects from a loopback address of a network of its own, and says nothing.
async fn silent(network: u8, to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket
        .bind(SocketAddr::from(([127, network, 0, 1], 0)))
        .ok()?;
    let connecting = tokio::time::timeout(super::SECOND, socket.connect(to));
    connecting.await.ok()?.ok()
}

/// Keeps connections of several addresses open, and makes others for those that end, until it is told to stop.
async fn crowd(to: SocketAddr, sources: std::ops::Range<u8>, size: usize, stop: Arc<AtomicBool>) {
    let mut held = std::collections::VecDeque::new();
    let mut sources = sources.cycle();
    while !stop.load(Ordering::Relaxed) {
        held.extend(silent(sources.next().unwrap_or(2), to).await);
        if held.len() > size {
            held.pop_front();
            // Nothing waits for this: it only keeps the crowd from taking the whole processor.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_crowds_keep_out_neither_administrators_nor_nodes_where_few_files_may_be_open() {
    let name = "crowds::silent_crowds_keep_out_neither_administrators_nor_nodes_where_few_files_may_be_open";
    let Some(hosts) = inside(name, 2) else {
        return;
    };
    descriptors::raise_limit();
    let server = Server::start_with_files(Host::here(), 1024).unwrap();
    let key = server.key().unwrap();
    let mut clients: Vec<_> = hosts
        .into_iter()
        .map(|host| Client::start(host, Release::Current, &[]).unwrap())
        .collect();
    for (client, name) in clients.iter().zip(["c1", "c2"]) {
        client.join(&server.url, &key, name).unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let crowds: Vec<_> = ["10.77.0.1:8080", "10.77.0.1:8444"]
        .into_iter()
        .flat_map(|to| [(to, 2..100), (to, 100..200)])
        .map(|(to, sources)| {
            let crowd = crowd(to.parse().unwrap(), sources, MEMBERS, Arc::clone(&stop));
            tokio::spawn(crowd)
        })
        .collect();
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", server.process_id()))
            .unwrap()
            .count()
    };
    bowline_interop::wait_for("the crowd is there", MINUTE, || match files() {
        many @ 500.. => Ok(many),
        few => Err(few.to_string()),
    });
    for _ in 0..5 {
        server.bowline(&["users", "list"]).unwrap();
        assert_eq!(http("GET", "/health", b"").0, 200);
    }
    clients[0].restart().unwrap();
    clients[0].wait_for_state("Running", MINUTE);
    clients[0].wait_for_peers(&["c2"], SOON);
    let one = clients[0].ipv4().unwrap();
    let nodes = server.bowline(&["nodes", "list"]).unwrap();
    assert!(nodes.to_string().contains(&one));
    assert!(files() < 1024);
    let log = server.log();
    assert!(
        !log.contains("can not be accepted") && !log.contains("Too many open files"),
        "{log}"
    );
    stop.store(true, Ordering::Relaxed);
    for crowd in crowds {
        crowd.await.unwrap();
    }
}
