use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::server::{SOON, Server};

const COOKIE_AND_ID: [u8; 16] = *b"\x21\x12\xa4\x42transactions";

fn request() -> Vec<u8> {
    [&[0, 1, 0, 0][..], &COOKIE_AND_ID].concat()
}

/// Returns the address an answer names.
fn mapped(answer: &[u8]) -> SocketAddr {
    assert_eq!(answer[..2], [1, 1]);
    assert_eq!(answer[4..20], COOKIE_AND_ID);
    assert_eq!(answer[20..22], [0, 0x20]);
    let unmasked: Vec<u8> = answer[28..]
        .iter()
        .zip(COOKIE_AND_ID)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let port = u16::from_be_bytes([answer[26] ^ 0x21, answer[27] ^ 0x12]);
    match answer[25] {
        1 => (<[u8; 4]>::try_from(unmasked).unwrap(), port).into(),
        family => {
            assert_eq!(family, 2);
            (<[u8; 16]>::try_from(unmasked).unwrap(), port).into()
        }
    }
}

#[tokio::test]
async fn client_learns_its_address_over_each_family_and_bad_requests_get_nothing() {
    let server = Server::start().await;
    for stun in &server.stun {
        let socket = UdpSocket::bind((stun.ip(), 0)).await.unwrap();
        socket.connect(stun).await.unwrap();
        socket.send(&request()[..19]).await.unwrap();
        socket.send(b"").await.unwrap();
        socket.send(&[0xff; 1400]).await.unwrap();
        socket.send(&request()).await.unwrap();

        let mut answer = [0; 100];
        let len = timeout(SOON, socket.recv(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(len, if stun.is_ipv4() { 32 } else { 44 });
        assert_eq!(mapped(&answer[..len]), socket.local_addr().unwrap());
        assert!(
            socket.try_recv(&mut answer).is_err(),
            "one answer to four datagrams"
        );
    }
}
