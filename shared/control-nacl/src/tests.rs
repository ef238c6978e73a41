use super::*;

fn key(text: &str) -> PrivateKey {
    PrivateKey::from_random(hex::decode(text).unwrap().try_into().unwrap())
}

#[test]
fn recorded_box_opens_and_is_made_again() {
    let control = key("aaf3ed34c441df05e689aebe15402d16b46fe96316862826d2ffd513369fcd8a");
    let machine = key("f55d8777ec24f1286d731376a6413d5b8802abfb7d84c78fdbd774bd564fd762");
    let recorded = "000102030405060708090a0b0c0d0e0f1011121314151617027580027d93fea4cf464a2c068b27d70a4f471713b2c3c561064c38eb";
    let nonce: [u8; NONCE] = std::array::from_fn(|index| index as u8);
    let control_public = MachinePublic::from_bytes(control.public_bytes());
    let sealed = seal_box(br#"{"Version":1}"#, &machine, control_public, nonce);
    assert_eq!(hex::encode(&sealed), recorded);

    let machine_public = MachinePublic::from_bytes(machine.public_bytes());
    let newest = PrivateKey::from_random([3; 32]);
    let opened = open_box(&sealed, machine_public, [&newest, &control]).unwrap();
    assert_eq!(opened.plaintext, br#"{"Version":1}"#);
    assert_eq!(opened.nonce, nonce);
    assert_eq!(opened.control.public_bytes(), control.public_bytes());
}

#[test]
fn machine_keys_of_low_order_are_refused() {
    // With such a key anybody could seal: the shared secret is known to all.
    let control = PrivateKey::from_random([1; 32]);
    let prime = |first: u8| {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (first, 0x7f);
        point
    };
    let mut one = [0; 32];
    one[0] = 1;
    for mut point in [[0; 32], one, prime(0xec), prime(0xed), prime(0xee)] {
        for high in [0, 0x80] {
            point[31] |= high;
            let machine = MachinePublic::from_bytes(point);
            let sealed = seal_box(b"forged", &control, machine, [7; NONCE]);
            let refused = open_box(&sealed, machine, [&control]).err();
            assert_eq!(refused, Some(OpenError::LowOrder), "{point:02x?}");
        }
    }
}

#[test]
fn changed_truncated_and_foreign_boxes_are_refused() {
    let control = PrivateKey::from_random([1; 32]);
    let machine = PrivateKey::from_random([2; 32]);
    let public = MachinePublic::from_bytes(machine.public_bytes());
    let control_public = MachinePublic::from_bytes(control.public_bytes());
    let sealed = seal_box(b"hello", &machine, control_public, [7; NONCE]);
    let refused = |sealed: &[u8], machine| open_box(sealed, machine, [&control]).err();
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert_eq!(
            refused(&changed, public),
            Some(OpenError::Decryption),
            "byte {index}"
        );
    }
    assert_eq!(refused(&sealed[..39], public), Some(OpenError::Length(39)));
    assert_eq!(
        refused(&sealed, MachinePublic::ZERO),
        Some(OpenError::LowOrder)
    );
    assert_eq!(
        refused(&sealed, control_public),
        Some(OpenError::Decryption)
    );
}
