//! What follows a handshake and is no record of it.

use bowline_clock::random_bytes;
use bowline_control_noise::{Initiator, Keys, NoiseStream};
use bowline_interop::{inside, is_possible};
use bowline_keys::{MachinePublic, PrivateKey};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{session::upgrade, upgrade::rest, witness::Scene};

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
    if !is_possible() || inside(name, 0).is_none() {
        return;
    }
    let mut scene = Scene::start("").await;
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
        let (mut stream, keys, _) = shaken(scene.control).await;
        let sealed = records(&keys, &[PREFACE, SETTINGS, SETTINGS]).await;
        // The server may have closed before everything is sent.
        drop(stream.write_all(&spoil(&sealed)).await);
        let told = rest(&mut stream).await;
        assert!(told.len() < 1000, "{what}: {}", told.len());
    }
    // Cut anywhere, then the end: the server is not left waiting.
    for cut in 0..length {
        let (mut stream, keys, _) = shaken(scene.control).await;
        let sealed = records(&keys, &[PREFACE]).await;
        stream.write_all(&sealed[0][..cut]).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
    }
    scene.is_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_handshake_gives_its_sender_nothing() {
    let name = "bad_input::records::replayed_handshake_gives_its_sender_nothing";
    if !is_possible() || inside(name, 0).is_none() {
        return;
    }
    let mut scene = Scene::start("").await;
    let (_first, keys, initiation) = shaken(scene.control).await;
    let recorded = records(&keys, &[PREFACE, SETTINGS]).await.concat();
    let (status, mut replay) = upgrade(&initiation).await;
    assert_eq!(status, 101, "an initiation holds nothing that ages");
    replay.write_all(&recorded).await.unwrap();
    // The answer is made with a new key: what was recorded opens nothing.
    let told = rest(&mut replay).await;
    assert!(told.len() < 1000, "{}", told.len());
    scene.is_undisturbed().await;
}
