use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_keys::NodePublic;
use bowline_relay::{AdmissionVerdict, Limits, NodeAdmission};
use bowline_service_kit::rate_limit::RateLimit;
use tokio::net::TcpStream;

use crate::client::{
    CLIENT_INFO, Client, GET, KEEP_ALIVE, PEER_GONE, PING, PONG, SEND_PACKET, public, sealed_info,
    secret,
};
use crate::server::{SOON, Server, admitted, limits, relay};

/// Upgrades, reads the greeting, and returns the relay's key with the connection.
async fn greeted(server: &Server, number: u8) -> (Client, [u8; 32]) {
    let stream = TcpStream::connect(server.http).await.unwrap();
    let mut client = Client::upgrade(stream, number, GET).await;
    let relay = client.greeting().await;
    (client, relay)
}

#[tokio::test]
async fn box_of_another_key_is_refused() {
    let server = Server::start().await;
    let (mut mallory, relay) = greeted(&server, 1).await;
    assert_eq!(relay, *server.relay.public_key().as_bytes());
    let mut info = sealed_info(relay, &secret(1), r#"{"version":2}"#);
    info[..32].copy_from_slice(&public(2));
    mallory.send(CLIENT_INFO, &info).await;
    assert_eq!(mallory.rest().await, b"");
}

#[tokio::test]
async fn first_frame_other_than_client_info_is_refused() {
    let server = Server::start().await;
    let (mut mallory, _) = greeted(&server, 1).await;
    mallory.send_packet(2, b"no introduction").await;
    assert_eq!(mallory.rest().await, b"");
}

#[tokio::test]
async fn oversized_frames_close_the_connection_before_their_body_comes() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    let len = u32::try_from(32 + (64 << 10) + 1).unwrap().to_be_bytes();
    alice.write(&[&[SEND_PACKET], &len[..]].concat()).await;
    assert_eq!(alice.rest().await, b"");

    let (mut bob, _) = greeted(&server, 2).await;
    bob.write(&[CLIENT_INFO, 0xff, 0xff, 0xff, 0xff]).await;
    assert_eq!(bob.rest().await, b"");
}

#[tokio::test]
async fn mesh_frames_close_the_connection() {
    let server = Server::start().await;
    for kind in [0x09, 0x0a, 0x10, 0x11] {
        let mut alice = Client::connect(server.http, 1).await;
        alice.send(kind, &[]).await;
        assert_eq!(alice.rest().await, b"", "{kind:#x}");
    }
}

#[tokio::test]
async fn client_that_never_introduces_itself_is_cut() {
    let handshake = Duration::from_millis(100);
    let server = Server::limited(Limits {
        handshake,
        ..limits()
    })
    .await;
    let (mut silent, _) = greeted(&server, 1).await;
    assert_eq!(silent.rest().await, b"");

    let stream = TcpStream::connect(server.http).await.unwrap();
    let mut no_request = Client::silent(stream, 1);
    no_request.write(b"GET /derp HTTP/1.1\r\nHost:").await;
    no_request.rest().await;
}

#[tokio::test]
async fn silent_connections_make_room_and_clients_that_are_served_stay() {
    let server = Server::limited(Limits {
        connections: 8,
        ..limits()
    })
    .await;
    let mut alice = Client::connect(server.http, 1).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let stream = TcpStream::connect(server.http).await.unwrap();
        silent.push(Client::silent(stream, 3));
    }
    assert_eq!(silent[0].rest().await, b"", "the oldest has made room");
    let mut bob = Client::connect(server.http, 2).await;
    alice.settle().await;
    alice.send_packet(2, b"hello").await;
    assert_eq!(bob.recv_packet().await, (public(1), b"hello".to_vec()));
}

#[tokio::test]
async fn nobody_is_taken_when_all_places_are_those_of_clients_that_are_served() {
    let server = Server::limited(Limits {
        connections: 2,
        ..limits()
    })
    .await;
    // One source has half of the places for certain; who is beyond is served as long as nobody needs the place.
    let _alice = Client::connect(server.http, 1).await;
    let mut bob = Client::connect(server.http, 2).await;
    let mut carol = Client::connect(server.http, 3).await;
    assert_eq!(bob.rest().await, b"");
    carol.settle().await;
}

/// Serves everyone: nodes above 100 are of one user, each of the others is of its own.
struct Crowd;

#[async_trait::async_trait]
impl NodeAdmission for Crowd {
    async fn judge_node(&self, node: NodePublic, _source: IpAddr) -> AdmissionVerdict {
        let number = (1..=120).find(|&number| public(number) == *node.as_bytes());
        AdmissionVerdict::Allowed(admitted(1, number.unwrap().min(100).into()))
    }
}

#[tokio::test]
async fn user_with_most_clients_makes_room_for_those_of_others() {
    let limits = Limits {
        connections: 16,
        ..limits()
    };
    let server = Server::with(relay(Arc::new(Crowd), limits), None).await;
    // Half of the places are for one source, and all of these have them.
    let mut crowd = Vec::new();
    for number in 101..=108 {
        crowd.push(Client::connect(server.http, number).await);
    }
    let mut alice = Client::connect(server.http, 1).await;
    assert_eq!(crowd[0].rest().await, b"", "the oldest of the crowd");
    let mut bob = Client::connect(server.http, 2).await;
    assert_eq!(crowd[1].rest().await, b"");
    for number in 109..=120 {
        crowd.push(Client::connect(server.http, number).await);
    }
    alice.send_packet(2, b"hello").await;
    assert_eq!(bob.recv_packet().await, (public(1), b"hello".to_vec()));
}

#[tokio::test]
async fn introduction_is_as_long_as_those_of_clients_and_no_longer() {
    let server = Server::start().await;
    let (mut mallory, _) = greeted(&server, 1).await;
    let len = u32::try_from((4 << 10) + 1).unwrap().to_be_bytes();
    mallory.write(&[&[CLIENT_INFO], &len[..]].concat()).await;
    assert_eq!(mallory.rest().await, b"");
}

#[tokio::test]
async fn client_sends_no_faster_than_it_may() {
    let server = Server::limited(Limits {
        sending: RateLimit::new(4, Duration::from_millis(50)),
        ..limits()
    })
    .await;
    let mut alice = Client::connect(server.http, 1).await;
    let mut bob = Client::connect(server.http, 2).await;
    bob.settle().await;
    let start = tokio::time::Instant::now();
    for _ in 0..12 {
        alice.send_packet(2, &[7; 1024]).await;
        assert_eq!(bob.recv_packet().await.1.len(), 1024);
    }
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "four at once, then one each 50 ms"
    );
}

#[tokio::test]
async fn client_that_answers_pings_is_kept_and_one_that_stops_is_cut() {
    let server = Server::limited(Limits {
        keep_alive: Duration::from_millis(40),
        idle: Duration::from_millis(400),
        ..limits()
    })
    .await;
    let stream = TcpStream::connect(server.http).await.unwrap();
    let mut alice = Client::join(stream, 1, r#"{"version":2,"CanAckPings":true}"#).await;
    for _ in 0..15 {
        assert_eq!(alice.recv().await, (KEEP_ALIVE, Vec::new()));
        let (kind, payload) = alice.recv().await;
        assert_eq!(kind, PING);
        alice.send(PONG, &payload).await;
    }
    alice.rest().await;
}

#[tokio::test]
async fn client_that_can_not_answer_pings_gets_only_keep_alives() {
    let keep_alive = Duration::from_millis(20);
    let server = Server::limited(Limits {
        keep_alive,
        idle: keep_alive * 2,
        ..limits()
    })
    .await;
    let mut alice = Client::connect(server.http, 1).await;
    for _ in 0..10 {
        assert_eq!(alice.recv().await, (KEEP_ALIVE, Vec::new()));
    }
}

#[tokio::test]
async fn client_that_takes_nothing_for_too_long_is_cut() {
    let stalled = Duration::from_millis(100);
    let server = Server::limited(Limits {
        stalled,
        ..limits()
    })
    .await;
    let mut alice = Client::connect(server.http, 1).await;
    let _deaf = Client::deaf(server.http, 2).await;
    let gone = async {
        loop {
            alice.send_packet(2, &[7; 64 << 10]).await;
            alice.send(PING, b"go on...").await;
            let (kind, body) = alice.recv().await;
            if kind == PEER_GONE {
                break body;
            }
        }
    };
    let gone = tokio::time::timeout(SOON, gone)
        .await
        .expect("alice is told");
    // Alice never heard from the other: she learns it is not here when she sends again.
    assert_eq!(gone, [&public(2)[..], &[1]].concat());
}
