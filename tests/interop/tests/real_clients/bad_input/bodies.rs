//! Bodies without end, of clients that anybody can be.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_interop::inside;
use bowline_keys::PrivateKey;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    session::{ADDRESS, RequestBody, Session, text},
    witness::{TestServer, is_served, memory},
};
use crate::http::http;

/// Returns a body of pieces that go on for ever.
fn endless() -> RequestBody {
    let pieces = stream::repeat(Bytes::from_static(&[b' '; 16_384]));
    StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))).boxed_unsync()
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_bodies_of_strangers_are_refused_in_bounded_memory() {
    let name = "bad_input::bodies::endless_bodies_of_strangers_are_refused_in_bounded_memory";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let control = test_server.control;
    let before = memory();
    let strangers: Vec<_> = (0..24)
        .map(|_| {
            tokio::spawn(async move {
                let machine = PrivateKey::from_random(random_bytes());
                let mut session = Session::open(&machine, control).await;
                let path = "/machine/register";
                let answer = session.begin_with(path, endless()).await.unwrap();
                text(answer).await
            })
        })
        .collect();
    for stranger in strangers {
        let (status, text) = stranger.await.unwrap();
        let says = match status {
            413 => "256 KiB",
            503 => "try again",
            _ => "15 seconds",
        };
        assert!(
            [413, 503, 408].contains(&status) && text.contains(says),
            "{status} {text}"
        );
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 150 << 20, "{} MiB more", grown >> 20);
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end_hold_a_bounded_share_for_a_while() {
    let name = "bad_input::bodies::bodies_that_never_end_hold_a_bounded_share_for_a_while";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("plain_http_boxes = true").await;
    let slow: Vec<_> = (0..12)
        .map(|_| {
            tokio::spawn(async {
                let head = format!(
                    "POST /machine/{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                    "5a".repeat(32),
                    256 << 10
                );
                let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
                stream.write_all(head.as_bytes()).await.unwrap();
                // Just short of the 256 KiB of one body: two of them are the most one source may hold.
                drop(stream.write_all(&vec![b' '; 248 << 10]).await);
                let mut answer = Vec::new();
                let reading = stream.read_to_end(&mut answer);
                drop(tokio::time::timeout(Duration::from_secs(25), reading).await);
                String::from_utf8(answer).unwrap()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for stranger in slow {
        let answer = stranger.await.unwrap();
        let status: u16 = answer[9..12].parse().unwrap();
        assert_eq!(answer.contains("retry-after"), status == 503, "{answer}");
        statuses.push(status);
    }
    // How many fit depends on who came first: two of them may find the share full at the same moment.
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert!((1..=2).contains(&count(408)), "{statuses:?}");
    assert_eq!(count(408) + count(503), statuses.len(), "{statuses:?}");
    assert!(is_served());
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_not_unpacked() {
    let name = "bad_input::bodies::compressed_bodies_are_not_unpacked";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("verify_token = \"a-secret-of-16-bytes\"").await;
    let machine = PrivateKey::from_random(random_bytes());
    let mut session = Session::open(&machine, test_server.control).await;
    let bomb = vec![b' '; 64 << 20];
    let bomb = bowline_control_wire::encode_payload(&bomb, bowline_control_wire::Compression::Zstd);
    let bomb = bomb.unwrap();
    let before = memory();
    for path in ["/machine/register", "/machine/map"] {
        let (status, text) = session.post(path, bomb.clone()).await;
        assert!(
            status == 400 && text.contains("not JSON"),
            "{status} {text}"
        );
    }
    assert_eq!(http("POST", "/verify/a-secret-of-16-bytes", &bomb).0, 400);
    let grown = memory().saturating_sub(before);
    assert!(grown < 32 << 20, "{} MiB more", grown >> 20);
    test_server.assert_undisturbed().await;
}
