//! The vectors of protocol appendix A, and everything that must be refused.

use super::*;
use crate::record::{Cipher, HEADER};

mod forged;

const INITIATION_HEX: &str = "008201006042f882cc3316ea2155ccede29e9cc0e59c344288f3479b3c17704b0b1f07576635970f22590d69664cc93743bf536f815528d1ab21f6b3ab254cf03ca858c3a0022747d4d2c3205ebe19295ae4db5e3849fd833f14026047e8009c25c1a8ca3d";
const RESPONSE_HEX: &str = "02003057cdfba407f539ffbc9197f6e0b99d3f5fd643c0aa7a917b0365db9766e9b7125661cfbe988d14269665b4073016d66c";

fn key(hex_text: &str) -> PrivateKey {
    PrivateKey::from_random(hex::decode(hex_text).unwrap().try_into().unwrap())
}

fn control() -> PrivateKey {
    key("aaf3ed34c441df05e689aebe15402d16b46fe96316862826d2ffd513369fcd8a")
}

fn control_public() -> MachinePublic {
    MachinePublic::from_bytes(control().public_bytes())
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
        cipher.seal_record(b"hello", &mut out).unwrap();
        assert_eq!(hex::encode(out), record);
    }
    let mut record = hex::decode("0400159c2c40909d06f4c6e74221bc5ecc9114cbc053b47b").unwrap();
    let mut opening = Cipher::new(&accepted.keys.receive);
    assert_eq!(opening.open_record(&mut record[HEADER..]), Ok(5));
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
fn initiator_makes_the_recorded_initiation_and_keys() {
    let machine = key("f55d8777ec24f1286d731376a6413d5b8802abfb7d84c78fdbd774bd564fd762");
    let ephemeral = key("055543be3e9fbd475c4bb6df91fc89843b4a991ca36bb1cf25bdadc5617929a1");
    let builder = noise_builder()
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(ephemeral.expose_bytes());
    let (initiator, initiation) =
        Initiator::begin_from(builder, &machine, control_public(), 130).unwrap();
    assert_eq!(hex::encode(initiation), INITIATION_HEX);
    let keys = initiator
        .finish(&hex::decode(RESPONSE_HEX).unwrap())
        .unwrap();
    assert_eq!(
        hex::encode(keys.send),
        "e8e680047b0a620aa217b827513d77375dd048ffdb9e7da63ec1b56d78019905"
    );
    assert_eq!(
        hex::encode(keys.receive),
        "89ff00e25411e6af428133a4189b03f3b77af51de12757f8c0347d089b3dd2e3"
    );
}

#[test]
fn initiation_for_another_version_is_refused() {
    // The version is in clear, but the prologue binds it.
    for version in [0_u16, 1, 129, 131, u16::MAX] {
        let mut initiation = hex::decode(INITIATION_HEX).unwrap();
        initiation[..2].copy_from_slice(&version.to_be_bytes());
        let refused = Responder::default().accept(&initiation, [&control()]);
        assert_eq!(refused.unwrap_err(), HandshakeError::Decryption);
        let machine = PrivateKey::from_random([5; 32]);
        let (_, honest) = Initiator::begin(&machine, control_public(), version).unwrap();
        let accepted = Responder::default().accept(&honest, [&control()]).unwrap();
        assert_eq!(accepted.version, version, "any version is a version here");
    }
}

#[test]
fn oversized_initiation_is_refused() {
    let mut initiation = hex::decode(INITIATION_HEX).unwrap();
    initiation.push(0);
    let refused = |initiation: &[u8]| {
        Responder::default()
            .accept(initiation, [&control()])
            .unwrap_err()
    };
    assert_eq!(refused(&initiation), HandshakeError::Length(102));
    assert_eq!(refused(&vec![0; 1 << 20]), HandshakeError::Length(1 << 20));
    initiation.pop();
    initiation[3..5].copy_from_slice(&97_u16.to_be_bytes());
    assert_eq!(refused(&initiation), HandshakeError::Header);
}

/// The points of small order, each way they can be written.
fn low_order_points() -> Vec<[u8; 32]> {
    let mut points: Vec<[u8; 32]> = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .iter()
    .map(|point| hex::decode(point).unwrap().try_into().unwrap())
    .collect();
    for index in 0..points.len() {
        let mut high = points[index];
        high[31] |= 0x80;
        points.push(high);
    }
    points
}

#[test]
fn low_order_keys_of_a_client_are_refused() {
    for point in low_order_points() {
        let mut initiation = hex::decode(INITIATION_HEX).unwrap();
        initiation[5..37].copy_from_slice(&point);
        let refused = Responder::default().accept(&initiation, [&control()]);
        assert_eq!(refused.unwrap_err(), HandshakeError::LowOrder, "ephemeral");

        // With such a machine key no private key is needed to make a valid initiation.
        let forged = forged::initiation(control_public(), &[0; 32], point, 130);
        let refused = Responder::default().accept(&forged, [&control()]);
        assert_eq!(refused.unwrap_err(), HandshakeError::LowOrder, "machine");
    }
}

#[test]
fn forged_initiation_stands_and_falls_with_its_machine_key() {
    let machine = PrivateKey::from_random([5; 32]);
    let shared = machine.expose_bytes();
    let static_static = x25519_dalek::x25519(*shared, *control_public().as_bytes());
    let made = |secret| forged::initiation(control_public(), secret, machine.public_bytes(), 130);
    let accepted = Responder::default()
        .accept(&made(&static_static), [&control()])
        .unwrap();
    assert_eq!(accepted.machine.as_bytes(), &machine.public_bytes());
    let refused = Responder::default().accept(&made(&[0; 32]), [&control()]);
    assert_eq!(
        refused.unwrap_err(),
        HandshakeError::Decryption,
        "a machine key is not claimed without its private half"
    );
}

#[test]
fn changed_and_foreign_responses_are_refused() {
    let machine = PrivateKey::from_random([5; 32]);
    let begin = || Initiator::begin(&machine, control_public(), 130).unwrap();
    let (_, initiation) = begin();
    let accepted = Responder::default()
        .accept(&initiation, [&control()])
        .unwrap();
    let (other, _) = begin();
    assert_eq!(
        other.finish(&accepted.response).unwrap_err(),
        HandshakeError::Decryption,
        "an answer to another initiation"
    );
    for length in [0, 1, 3, 50] {
        let (initiator, _) = begin();
        let refused = initiator.finish(&accepted.response[..length]);
        assert_eq!(refused.unwrap_err(), HandshakeError::Length(length));
    }
    let (initiator, initiation) = begin();
    let mut response = Responder::default()
        .accept(&initiation, [&control()])
        .unwrap()
        .response;
    response[40] ^= 1;
    assert_eq!(
        initiator.finish(&response).unwrap_err(),
        HandshakeError::Decryption
    );
}

#[test]
fn error_frame_tells_the_client_why() {
    let machine = PrivateKey::from_random([5; 32]);
    let told = |frame: &[u8]| {
        let (initiator, _) = Initiator::begin(&machine, control_public(), 130).unwrap();
        initiator.finish(frame).unwrap_err()
    };
    let frame = error_frame("no");
    assert_eq!(frame, b"\x03\x00\x02no");
    assert_eq!(told(&frame), HandshakeError::Refused("no".to_owned()));
    // A long text is cut between characters.
    let long = error_frame(&"ü".repeat(3000).replacen('ü', "u", 1));
    assert_eq!(long.len(), 3 + 999);
    let text = format!("u{}", "ü".repeat(499));
    assert_eq!(told(&long), HandshakeError::Refused(text));
    assert_eq!(told(&frame[..4]), HandshakeError::Length(4));
}
