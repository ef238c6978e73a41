//! Any bytes as a sealed message.

use bowline_control_nacl::{NONCE, OpenError, open_box, seal_box};
use bowline_keys::{MachinePublic, PrivateKey};

const TEXT: &[u8] = br#"{"Version":1}"#;

fn keys() -> (PrivateKey, PrivateKey) {
    (
        PrivateKey::from_random([7; 32]),
        PrivateKey::from_random([8; 32]),
    )
}

fn public(key: &PrivateKey) -> MachinePublic {
    MachinePublic::from_bytes(key.public_bytes())
}

/// Messages of the machine, one of them empty, and one of another machine.
pub fn seeds() -> Vec<Vec<u8>> {
    let (control, machine) = keys();
    let other = PrivateKey::from_random([9; 32]);
    let sealed = |text, sender| seal_box(text, sender, public(&control), [1; NONCE]);
    vec![
        sealed(TEXT, &machine),
        sealed(b"", &machine),
        sealed(TEXT, &other),
    ]
}

/// Nothing opens but what the machine has sealed.
pub fn run(input: &[u8]) {
    let (control, machine) = keys();
    match open_box(input, public(&machine), [&control]) {
        Ok(opened) => assert!(
            seeds()[..2].contains(&input.to_vec()),
            "{:?}",
            opened.plaintext
        ),
        Err(OpenError::Length(length)) => assert!(length == input.len() && length < 40),
        Err(OpenError::Decryption) => assert!(input.len() >= 40),
        Err(OpenError::LowOrder) => unreachable!("the machine's key is a good one"),
    }
}
