use std::time::Duration;

use bowline_relay::Limits;
use tokio::net::TcpStream;

use crate::client::{Client, GET, RESTARTING};
use crate::server::{SOON, Server, limits};

#[tokio::test]
async fn drain_asks_clients_to_reconnect_and_then_closes() {
    let drain = Duration::from_millis(200);
    let handshake = SOON * 10;
    let server = Server::limited(Limits {
        drain,
        handshake,
        ..limits()
    })
    .await;
    let mut alice = Client::connect(server.http, 1).await;
    let stream = TcpStream::connect(server.http).await.unwrap();
    let mut in_handshake = Client::upgrade(stream, 2, GET).await;
    in_handshake.greeting().await;
    let mut idle = Client::silent(TcpStream::connect(server.http).await.unwrap(), 3);

    server.shut_down();
    let (kind, body) = alice.recv().await;
    assert_eq!((kind, body.len()), (RESTARTING, 8));
    let reconnect_in = u32::from_be_bytes(body[..4].try_into().unwrap());
    assert!(Duration::from_millis(reconnect_in.into()) <= drain);
    assert_eq!(body[4..], 5000_u32.to_be_bytes());
    assert_eq!(alice.rest().await, b"");
    idle.rest().await;
    in_handshake.rest().await;
    let address = server.http;
    server.ended().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn client_that_reads_nothing_does_not_hold_up_the_drain() {
    let server = Server::start().await;
    let mut alice = Client::connect(server.http, 1).await;
    let _deaf = Client::deaf(server.http, 2).await;
    alice.flood(2).await;
    server.shut_down();
    server.ended().await;
}
