use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    routing::{get, post},
};
use bowline_service_kit::Shutdown;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use super::*;
use crate::listener::{ListenerLimits, Proxies};

const HANDSHAKE: &[u8] = b"POST /ts2021 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
const KEY: &[u8] = b"GET /key HTTP/1.1\r\nHost: a\r\n\r\n";

/// Where connections come in.
struct TestListener {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
    shutdown: Shutdown,
}

impl TestListener {
    async fn start(routes: Router) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let shutdown = Shutdown::new(Duration::from_secs(60));
        let listener = Listener {
            tls: None,
            routes,
            limits: ListenerLimits::new(10_000, Proxies::default(), false),
        };
        let tasks = Tasks::new(shutdown.clone());
        let arrivals = Arrivals::new(listener, tasks.clone(), TaskTracker::new());
        tasks.spawn_critical("listen", Arc::clone(&arrivals).run(socket));
        Self {
            address,
            arrivals,
            shutdown,
        }
    }

    /// Takes all turns, so that nobody else has one.
    async fn take_all_turns(&self) -> Vec<Turn> {
        let origin = RequestOrigin::Stranger(Network::ALL);
        let mut taken = Vec::new();
        for _ in 0..BEGINNING {
            taken.push(self.arrivals.beginning.wait_for_turn(origin).await);
        }
        taken.into_iter().flatten().collect()
    }

    /// Accepts a connection that does not begin by itself.
    async fn accept(&self, socket: &TcpListener) -> Arrival {
        let (socket, source) = socket.accept().await.expect("a connection");
        let slots = &self.arrivals.listener.limits.slots;
        let slot = slots.take_slot(Some(source.ip())).await.expect("a slot");
        let end = ConnectionEnd::new(self.shutdown.clone(), 0, self.arrivals.open.token());
        Arrival {
            socket,
            slot,
            source,
            end,
        }
    }

    async fn send(&self, request: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.expect("room");
        client.write_all(request).await.expect("it is there");
        client
    }
}

fn routes() -> Router {
    let keys = get(async || "keys");
    let handshake = post(async || "greeting");
    Router::new()
        .route("/key", keys)
        .route("/ts2021", handshake)
}

/// How long something may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(20);

async fn read_answer(client: &mut TcpStream, end: &str) {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let read = timeout(PATIENCE, client.read_buf(&mut answer)).await;
        assert!(read.expect("in time").expect("an answer") > 0);
    }
}

#[tokio::test]
async fn who_asks_for_the_keys_is_answered_while_handshakes_wait() {
    let listener = TestListener::start(routes()).await;
    let taken = listener.take_all_turns().await;
    let mut waiting = listener.send(HANDSHAKE).await;
    let mut asking = listener.send(KEY).await;
    read_answer(&mut asking, "keys").await;
    let none = waiting.try_read(&mut [0]).expect_err("it waits");
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    drop(taken);
    read_answer(&mut waiting, "greeting").await;
}

#[tokio::test]
async fn handshake_that_stalls_keeps_nobody_waiting() {
    let begun = Arc::new((AtomicUsize::new(0), Notify::new()));
    let counted = Arc::clone(&begun);
    let stalls = post(async move || {
        counted.0.fetch_add(1, Ordering::Relaxed);
        counted.1.notify_one();
        pending::<()>().await;
    });
    let listener = TestListener::start(Router::new().route("/ts2021", stalls)).await;
    let mut clients = Vec::new();
    for _ in 0..2 * BEGINNING {
        clients.push(listener.send(HANDSHAKE).await);
    }
    while begun.0.load(Ordering::Relaxed) < clients.len() {
        let next = timeout(PATIENCE, begun.1.notified()).await;
        next.expect("in time");
    }
}

#[tokio::test]
async fn who_left_while_it_waited_gets_no_turn() {
    let listener = TestListener::start(routes()).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    for leaves in [true, false] {
        let taken = listener.take_all_turns().await;
        let mut client = TcpStream::connect(address).await.expect("room");
        client.write_all(HANDSHAKE).await.expect("it is there");
        let arrival = listener.accept(&socket).await;
        let waiting = listener.arrivals.wait_for_turn(&arrival);
        let begins = async {
            if leaves {
                client.shutdown().await.expect("it is there");
            }
            // Events come in order: after this one the end has been seen.
            let mut asking = listener.send(KEY).await;
            read_answer(&mut asking, "keys").await;
            drop(taken);
        };
        let (turn, ()) = tokio::join!(waiting, begins);
        assert_eq!(turn.is_err(), leaves);
    }
}

#[tokio::test]
async fn handshakes_that_wait_are_answered_when_the_drain_begins() {
    let listener = TestListener::start(routes()).await;
    let _taken = listener.take_all_turns().await;
    let mut waiting = listener.send(HANDSHAKE).await;
    let mut asking = listener.send(KEY).await;
    read_answer(&mut asking, "keys").await;
    listener.shutdown.drain();
    read_answer(&mut waiting, "greeting").await;
}

#[test]
fn tls_and_handshakes_of_clients_cost_much() {
    for start in [
        &b"\x16\x03\x01"[..],
        b"POST /ts2021",
        b"GET /ts2021?",
        b"POST",
    ] {
        assert!(begins_handshake(start), "{start:?}");
    }
    for start in [&b"GET /key?v=1"[..], b"POST /verify", b"PRI * HTTP/2"] {
        assert!(!begins_handshake(start), "{start:?}");
    }
}
