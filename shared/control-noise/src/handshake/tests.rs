//! The vectors of protocol appendix A, and everything that must be refused.

use super::*;
use crate::record::{Cipher, HEADER, body_length};

const INITIATION_HEX: &str = "008201006042f882cc3316ea2155ccede29e9cc0e59c344288f3479b3c17704b0b1f07576635970f22590d69664cc93743bf536f815528d1ab21f6b3ab254cf03ca858c3a0022747d4d2c3205ebe19295ae4db5e3849fd833f14026047e8009c25c1a8ca3d";
const RESPONSE_HEX: &str = "02003057cdfba407f539ffbc9197f6e0b99d3f5fd643c0aa7a917b0365db9766e9b7125661cfbe988d14269665b4073016d66c";

fn key(hex_text: &str) -> PrivateKey {
    PrivateKey::from_random(hex::decode(hex_text).unwrap().try_into().unwrap())
}

fn control() -> PrivateKey {
    key("aaf3ed34c441df05e689aebe15402d16b46fe96316862826d2ffd513369fcd8a")
}

fn vector_responder() -> Responder {
    let ephemeral = key("d975bb57128182ae12abd1bd5597e09581222810cd1839aa02a263da68372369");
    Responder {
        ephemeral: Some(*ephemeral.expose_bytes()),
    }
}

#[test]
fn recorded_initiation_gives_the_recorded_response_and_keys() {
    let initiation = hex::decode(INITIATION_HEX).unwrap();
    let accepted = vector_responder()
        .accept(&initiation, [&control()])
        .unwrap();
    assert_eq!(accepted.version, 130);
    assert_eq!(
        accepted.machine.to_hex(),
        "cd7487f7e71297fd364ae18032d54a6ea7510ba38dc26616dfdae729179a686d"
    );
    assert_eq!(hex::encode(accepted.response), RESPONSE_HEX);
    assert_eq!(
        hex::encode(accepted.keys.receive),
        "e8e680047b0a620aa217b827513d77375dd048ffdb9e7da63ec1b56d78019905"
    );
    assert_eq!(
        hex::encode(accepted.keys.send),
        "89ff00e25411e6af428133a4189b03f3b77af51de12757f8c0347d089b3dd2e3"
    );
    let mut cipher = Cipher::new(&accepted.keys.send);
    for record in [
        "04001547c2d97c582cac9f4614e072437168e72458406c8e",
        "04001596b6aca19131307dfe7919eccf55da6e8dd606c34f",
    ] {
        let mut out = Vec::new();
        cipher.seal(b"hello", &mut out).unwrap();
        assert_eq!(hex::encode(out), record);
    }
    let mut record = hex::decode("0400159c2c40909d06f4c6e74221bc5ecc9114cbc053b47b").unwrap();
    let mut opening = Cipher::new(&accepted.keys.receive);
    assert_eq!(opening.open(&mut record[HEADER..]), Ok(5));
    assert_eq!(&record[HEADER..HEADER + 5], b"hello");
}

#[test]
fn older_control_key_is_tried_after_the_newest() {
    let initiation = hex::decode(INITIATION_HEX).unwrap();
    let newest = PrivateKey::from_random([9; 32]);
    assert!(
        Responder::default()
            .accept(&initiation, [&newest, &control()])
            .is_ok()
    );
    let refused = Responder::default()
        .accept(&initiation, [&newest])
        .unwrap_err();
    assert_eq!(refused, HandshakeError::Decryption);
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let initiation = hex::decode(INITIATION_HEX).unwrap();
    for index in 0..initiation.len() {
        let mut changed = initiation.clone();
        changed[index] ^= 1;
        assert!(
            Responder::default().accept(&changed, [&control()]).is_err(),
            "byte {index}"
        );
        let truncated = Responder::default().accept(&initiation[..index], [&control()]);
        assert_eq!(truncated.unwrap_err(), HandshakeError::Length(index));
    }
}

#[test]
fn low_order_ephemeral_is_refused() {
    let mut initiation = hex::decode(INITIATION_HEX).unwrap();
    initiation[5..37].fill(0);
    let refused = Responder::default()
        .accept(&initiation, [&control()])
        .unwrap_err();
    assert_eq!(refused, HandshakeError::LowOrder);
}

#[test]
fn records_of_wrong_kind_or_length_are_refused() {
    assert_eq!(body_length([3, 0, 20]), Err(RecordError::Type(3)));
    assert_eq!(body_length([4, 0, 15]), Err(RecordError::Length(15)));
    assert_eq!(body_length([4, 0x0f, 0xfe]), Err(RecordError::Length(4094)));
    assert_eq!(body_length([4, 0x0f, 0xfd]), Ok(4093));
}

#[test]
fn replayed_record_is_refused() {
    let mut sealing = Cipher::new(&[1; 32]);
    let mut record = Vec::new();
    sealing.seal(b"once", &mut record).unwrap();
    let mut opening = Cipher::new(&[1; 32]);
    let body = &record[HEADER..];
    assert_eq!(opening.open(&mut body.to_vec()), Ok(4));
    assert_eq!(
        opening.open(&mut body.to_vec()),
        Err(RecordError::Decryption)
    );
}

#[tokio::test]
async fn bytes_of_any_amount_cross_the_stream_both_ways() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let machine = PrivateKey::from_random([5; 32]);
    let public = MachinePublic::from_bytes(control().public_bytes());
    let (initiator, initiation) = Initiator::begin(&machine, public, 141).unwrap();
    let accepted = Responder::default()
        .accept(&initiation, [&control()])
        .unwrap();
    assert_eq!(accepted.machine.as_bytes(), &machine.public_bytes());
    let keys = initiator.finish(&accepted.response).unwrap();

    let (client, server) = tokio::io::duplex(1000);
    let mut client = crate::NoiseStream::new(client, &keys);
    let mut server = crate::NoiseStream::new(server, &accepted.keys);
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

use crate::RecordError;
