//! What follows a handshake and is no record of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_clock::random_bytes;
use bowline_control_noise::{Initiator, Keys, NoiseStream};
use bowline_interop::inside;
use bowline_keys::{MachinePublic, PrivateKey};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    session::{ADDRESS, upgrade},
    upgrade::rest,
    witness::TestServer,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Makes what is sent from three good records.
type Spoil = Box<dyn Fn(&[Vec<u8>]) -> Vec<u8> + Send>;

/// Shakes hands, and returns the connection with its keys before any record.
async fn shaken(control: MachinePublic) -> (TcpStream, Keys, [u8; 101]) {
    let machine = PrivateKey::from_random(random_bytes());
    let (initiator, initiation) = Initiator::begin(&machine, control, 130).unwrap();
    let (_, mut stream) = upgrade(&initiation).await;
    let mut response = [0; 51];
    stream.read_exact(&mut response).await.unwrap();
    (stream, initiator.finish(&response).unwrap(), initiation)
}

/// Returns the records of texts, as a client seals them.
async fn records(keys: &Keys, texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut sealed = Vec::new();
    let mut ends = vec![0];
    let mut stream = NoiseStream::new(tokio::io::join(tokio::io::empty(), &mut sealed), keys);
    for text in texts {
        stream.write_all(text).await.unwrap();
        stream.flush().await.unwrap();
        ends.push(ends[ends.len() - 1] + text.len() + 19);
    }
    drop(stream);
    ends.windows(2)
        .map(|pair| sealed[pair[0]..pair[1]].to_vec())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spoiled_records_end_their_own_connection_only() {
    let name = "bad_input::records::spoiled_records_end_their_own_connection_only";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let length = PREFACE.len() + 19;
    let mut cases: Vec<(String, Spoil)> = Vec::new();
    for index in 0..length {
        cases.push((
            format!("byte {index} changed"),
            Box::new(move |records| {
                let mut record = records[0].clone();
                record[index] ^= if index == 2 { 0x40 } else { 1 };
                // What the length now promises arrives too.
                [record, vec![0; 4096]].concat()
            }),
        ));
    }
    for kind in [0, 1, 2, 3, 5, 0x16, b'P', 0xff] {
        cases.push((
            format!("type {kind}"),
            Box::new(move |records| [&[kind], &records[0][1..]].concat()),
        ));
    }
    for length in [0_u16, 15, 4094, 0x7fff, 0xffff] {
        cases.push((
            format!("length {length}"),
            Box::new(move |_| [&[4], &length.to_be_bytes()[..], &[0; 8192]].concat()),
        ));
    }
    cases.push((
        "repeated".to_owned(),
        Box::new(|records| [&*records[0], &*records[0]].concat()),
    ));
    cases.push((
        "reordered".to_owned(),
        Box::new(|records| [&*records[1], &*records[0]].concat()),
    ));
    cases.push((
        "left out".to_owned(),
        Box::new(|records| [&*records[0], &*records[2]].concat()),
    ));
    cases.push((
        "plain HTTP/2".to_owned(),
        Box::new(|_| [PREFACE, SETTINGS].concat()),
    ));
    for (what, spoil) in cases {
        let (mut stream, keys, _) = shaken(test_server.control).await;
        let sealed = records(&keys, &[PREFACE, SETTINGS, SETTINGS]).await;
        // The server may have closed before everything is sent.
        drop(stream.write_all(&spoil(&sealed)).await);
        let told = rest(&mut stream).await;
        assert!(told.len() < 1000, "{what}: {}", told.len());
    }
    // Cut anywhere, then the end: the server is not left waiting.
    for cut in 0..length {
        let (mut stream, keys, _) = shaken(test_server.control).await;
        let sealed = records(&keys, &[PREFACE]).await;
        stream.write_all(&sealed[0][..cut]).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
    }
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_handshake_gives_its_sender_nothing() {
    let name = "bad_input::records::replayed_handshake_gives_its_sender_nothing";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let (_first, keys, initiation) = shaken(test_server.control).await;
    let recorded = records(&keys, &[PREFACE, SETTINGS]).await.concat();
    let (status, mut replay) = upgrade(&initiation).await;
    assert_eq!(status, 101, "an initiation holds nothing that ages");
    replay.write_all(&recorded).await.unwrap();
    // The answer is made with a new key: what was recorded opens nothing.
    let told = rest(&mut replay).await;
    assert!(told.len() < 1000, "{}", told.len());
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spoiled_websockets_end_their_own_connection_only() {
    let name = "bad_input::records::spoiled_websockets_end_their_own_connection_only";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let long = (1_u64 << 40).to_be_bytes();
    let allowed = 64 * 1024_u64;
    let longer = (allowed + 1).to_be_bytes();
    let pieces = [&[0x02, 0xfe, 0xff, 0xff, 0, 0, 0, 0][..], &[0; 65_535]].concat();
    for (what, sent) in [
        (
            "a message of a tebibyte",
            [&[0x82, 0xff][..], &long, &[0; 4096]].concat(),
        ),
        (
            "one a byte too long",
            [&[0x82, 0xff][..], &longer, &[0; 70_000]].concat(),
        ),
        ("one too long in pieces", pieces.repeat(3)),
        ("one without a mask", vec![0x82, 5, 1, 2, 3, 4, 5]),
        ("a reserved kind", vec![0x83, 0x80, 0, 0, 0, 0]),
        (
            "a ping too long",
            [&[0x89, 0xfe, 0, 200, 0, 0, 0, 0][..], &[0; 200]].concat(),
        ),
        (
            "no record",
            [&[0x82, 0x90, 0, 0, 0, 0][..], &[7; 16]].concat(),
        ),
    ] {
        let machine = PrivateKey::from_random(random_bytes());
        let (_, initiation) = Initiator::begin(&machine, test_server.control, 130).unwrap();
        let handshake = STANDARD.encode(initiation).replace('+', "%2B");
        let head = format!(
            "GET /ts2021?X-Tailscale-Handshake={handshake} HTTP/1.1\r\nHost: x\r\n\
             Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: tailscale-control-protocol\r\n\r\n"
        );
        let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status[9..], b"101", "{what}");
        drop(stream.write_all(&sent).await);
        let told = rest(&mut stream).await;
        assert!(told.len() < 1000, "{what}: {}", told.len());
    }
    test_server.assert_undisturbed().await;
}
