//! Streams between two ends, and what breaks them.

use bowline_keys::{MachinePublic, PrivateKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{Initiator, Responder};

/// The keys of a client and of a server that shook hands.
fn keys() -> (Keys, Keys) {
    let (machine, control) = (
        PrivateKey::from_random([5; 32]),
        PrivateKey::from_random([6; 32]),
    );
    let public = MachinePublic::from_bytes(control.public_bytes());
    let (initiator, initiation) = Initiator::begin(&machine, public, 141).unwrap();
    let accepted = Responder::default()
        .accept(&initiation, [&control])
        .unwrap();
    assert_eq!(accepted.machine.as_bytes(), &machine.public_bytes());
    (initiator.finish(&accepted.response).unwrap(), accepted.keys)
}

/// Reads a server's stream to its end from bytes that came over the wire.
async fn received(server_keys: &Keys, wire: &[u8]) -> (Vec<u8>, io::Result<usize>) {
    let mut stream = NoiseStream::new(io::Cursor::new(wire.to_vec()), server_keys);
    let mut text = Vec::new();
    let end = stream.read_to_end(&mut text).await;
    (text, end)
}

#[tokio::test]
async fn bytes_of_any_amount_cross_the_stream_both_ways() {
    let (client_keys, server_keys) = keys();
    let (client, server) = tokio::io::duplex(1000);
    let mut client = NoiseStream::new(client, &client_keys);
    let mut server = NoiseStream::new(server, &server_keys);
    let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let writer = async move {
        client.write_all(&copy).await.unwrap();
        client.flush().await.unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).await.unwrap();
        answer
    };
    let reader = async move {
        let mut received = vec![0; sent.len()];
        server.read_exact(&mut received).await.unwrap();
        assert!(received == sent);
        server.write_all(b"done").await.unwrap();
        server.flush().await.unwrap();
        server
    };
    let (answer, _server) = tokio::join!(writer, reader);
    assert_eq!(&answer, b"done");
}

#[tokio::test]
async fn pieces_that_are_written_together_cross_the_stream_in_as_few_records_as_they_fit_in() {
    let (client_keys, server_keys) = keys();
    let (client, server) = tokio::io::duplex(1 << 20);
    let mut client = NoiseStream::new(client, &client_keys);
    let sent: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
    let (head, rest) = sent.split_at(9);
    let (middle, end) = rest.split_at(MAX_PLAINTEXT - 9);
    let slices = [head, &[], middle, end].map(IoSlice::new);
    let count = client.write_vectored(&slices).await.unwrap();
    assert_eq!(count, MOST_SEALED);
    client.shutdown().await.unwrap();
    drop(client);
    let mut wire = Vec::new();
    let mut server = server;
    server.read_to_end(&mut wire).await.unwrap();
    assert_eq!(wire.len(), MOST_SEALED + 8 * (HEADER + TAG));
    let (text, end) = received(&server_keys, &wire).await;
    assert!(text == sent[..count], "the same bytes");
    assert_eq!(end.unwrap(), count);
}

#[tokio::test]
async fn empty_records_are_skipped() {
    let (client, server) = keys();
    let mut sealing = Cipher::new(&client.send);
    let mut wire = Vec::new();
    for text in ["", "one", "", "", "two", ""] {
        sealing.seal_record(text.as_bytes(), &mut wire).unwrap();
    }
    let (text, end) = received(&server, &wire).await;
    assert_eq!((text.as_slice(), end.unwrap()), (&b"onetwo"[..], 6));
}

#[tokio::test]
async fn stream_cut_anywhere_but_between_records_ends_in_an_error() {
    let (client, server) = keys();
    let mut wire = Vec::new();
    Cipher::new(&client.send)
        .seal_record(b"text", &mut wire)
        .unwrap();
    for length in 0..=wire.len() {
        let (text, end) = received(&server, &wire[..length]).await;
        match length {
            0 => assert!(text.is_empty() && end.is_ok()),
            whole if whole == wire.len() => assert!(text == b"text" && end.is_ok()),
            _ => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
        }
    }
}

#[tokio::test]
async fn one_bad_record_ends_the_stream_for_good() {
    let (client, server) = keys();
    let mut sealing = Cipher::new(&client.send);
    let mut records = [Vec::new(), Vec::new()];
    for record in &mut records {
        sealing.seal_record(b"text", record).unwrap();
    }
    let [first, second] = records;
    let plain_http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    for (what, bad) in [
        ("a repetition", first.clone()),
        ("another kind", [&[2], &first[1..]].concat()),
        ("too long", vec![4, 0x0f, 0xfe]),
        ("too short", vec![4, 0, 15]),
        ("plain HTTP", plain_http),
    ] {
        let wire = [first.clone(), bad, second.clone()].concat();
        let mut stream = NoiseStream::new(io::Cursor::new(wire), &server);
        let mut text = [0; 4];
        stream.read_exact(&mut text).await.unwrap();
        for _ in 0..3 {
            let end = stream.read(&mut text).await;
            assert!(end.is_err(), "{what}: {end:?}");
        }
    }
}
