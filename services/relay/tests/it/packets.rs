use crate::client::{Client, FLOOD, PEER_GONE, PING, PONG, public};
use crate::server::{SOON, Server};

#[tokio::test]
async fn two_clients_exchange_packets() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    let mut bob = Client::connect(server.http, 2).await;

    alice.send_packet(2, b"hello").await;
    assert_eq!(bob.recv_packet().await, (public(1), b"hello".to_vec()));
    let largest = vec![0x5a; 64 << 10];
    bob.send_packet(1, &largest).await;
    assert_eq!(alice.recv_packet().await, (public(2), largest));
    alice.send_packet(2, b"").await;
    assert_eq!(bob.recv_packet().await, (public(1), Vec::new()));
}

#[tokio::test]
async fn ping_is_answered_with_its_payload() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    alice.send(PING, b"12345678").await;
    assert_eq!(alice.recv().await, (PONG, b"12345678".to_vec()));
}

#[tokio::test]
async fn frames_of_later_versions_are_read_past() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    alice.send(0x07, &[1]).await;
    alice.send(0x7f, b"whatever this will mean").await;
    alice.settle().await;
}

#[tokio::test]
async fn sender_is_told_that_a_destination_is_not_here_a_few_times_a_second() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    for _ in 0..100 {
        alice.send_packet(2, b"anyone?").await;
    }
    alice.send(PING, b"the last").await;
    let mut told = 0;
    loop {
        let (kind, body) = alice.recv().await;
        if kind == PONG {
            break;
        }
        assert_eq!((kind, body), (PEER_GONE, [&public(2)[..], &[1]].concat()));
        told += 1;
    }
    assert!((3..100).contains(&told), "told {told} times");
}

#[tokio::test]
async fn whoever_heard_from_a_client_is_told_when_it_disconnects() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    let mut bob = Client::connect(server.http, 2).await;
    let mut carol = Client::connect(server.http, 3).await;
    alice.send_packet(2, b"hello").await;
    bob.recv_packet().await;
    drop(alice);
    assert_eq!(
        bob.recv().await,
        (PEER_GONE, [&public(1)[..], &[0]].concat())
    );
    // Carol never heard from Alice: the next thing she gets is her own answer.
    carol.settle().await;
}

#[tokio::test]
async fn newest_connection_of_a_key_wins() {
    let server = Server::start().await;
    let mut older = Client::connect(server.http, 1).await;
    let mut bob = Client::connect(server.http, 2).await;
    older.send_packet(2, b"hello").await;
    bob.recv_packet().await;

    let mut newer = Client::connect(server.http, 1).await;
    assert_eq!(older.rest().await, b"");
    bob.send_packet(1, b"which one?").await;
    assert_eq!(
        newer.recv_packet().await,
        (public(2), b"which one?".to_vec())
    );
    // The key is still here, so that nobody is told it was gone.
    bob.settle().await;
}

#[tokio::test]
async fn client_that_reads_nothing_costs_its_own_packets_and_nobody_else_any() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let relay = metrics::with_local_recorder(&recorder, || {
        crate::server::relay(crate::server::everyone(), crate::server::limits())
    });
    let server = Server::with(relay, None).await;
    let mut alice = Client::connect(server.http, 1).await;
    let _deaf = Client::deaf(server.http, 2).await;
    let mut carol = Client::connect(server.http, 3).await;

    tokio::time::timeout(SOON * 3, alice.flood(2))
        .await
        .expect("the sender never waits");
    alice.send_packet(3, b"still here").await;
    assert_eq!(
        carol.recv_packet().await,
        (public(1), b"still here".to_vec())
    );

    let metrics = recorder.handle().render();
    let counted = |name: &str| -> u64 {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(name))
            .expect("it is counted");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(counted("bowline_relay_packets_total"), u64::from(FLOOD) + 1);
    assert!(counted("bowline_relay_packets_dropped_total{reason=\"queue_full\"}") > 0);
    assert_eq!(counted("bowline_relay_connections"), 3);
}
