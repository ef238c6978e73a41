//! Any bytes as an initiation, and as what a server answers.

use bowline_control_noise::{HandshakeError, Initiator, Responder, error_frame};
use bowline_keys::{MachinePublic, PrivateKey};

fn control() -> PrivateKey {
    PrivateKey::from_random([7; 32])
}

fn begin() -> (Initiator, [u8; 101]) {
    let public = MachinePublic::from_bytes(control().public_bytes());
    let machine = PrivateKey::from_random([8; 32]);
    Initiator::begin(&machine, public, 142).expect("a good key")
}

/// A good initiation, a good answer to another one, and a refusal.
pub fn seeds() -> Vec<Vec<u8>> {
    let (_, initiation) = begin();
    let accepted = Responder::default().accept(&initiation, [&control()]);
    let response = accepted.expect("a good initiation").response;
    vec![initiation.to_vec(), response.to_vec(), error_frame("no")]
}

/// Only what was made with a machine's private key is accepted, and no answer to another initiation.
pub fn run(input: &[u8]) {
    match Responder::default().accept(input, [&control()]) {
        Ok(accepted) => {
            let machine = PrivateKey::from_random([8; 32]).public_bytes();
            assert_eq!(
                accepted.machine.as_bytes(),
                &machine,
                "the only key there is"
            );
        }
        Err(HandshakeError::Refused(_)) => unreachable!("a server refuses, and is not refused"),
        Err(_) => {}
    }
    let (initiator, _) = begin();
    assert!(initiator.finish(input).is_err());
}
