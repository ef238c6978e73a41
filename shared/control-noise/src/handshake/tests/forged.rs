//! Initiations made by hand, step by step as protocol section 4.3 has them, with whatever machine key and secret.

use blake2::{Blake2s256, Digest as _};
use chacha20poly1305::{AeadInPlace as _, ChaCha20Poly1305, KeyInit as _, Nonce};
use hmac::{Mac as _, SimpleHmac};

use super::*;

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2s256::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

/// Returns the next chaining key and the key it makes.
fn mix(chaining: &[u8; 32], secret: &[u8; 32]) -> ([u8; 32], [u8; 32]) {
    let mac = |key: &[u8; 32], parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = <SimpleHmac<Blake2s256> as hmac::Mac>::new_from_slice(key).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let secret = mac(chaining, &[secret]);
    let first = mac(&secret, &[&[1]]);
    let second = mac(&secret, &[&first, &[2]]);
    (first, second)
}

fn sealed(key: &[u8; 32], hash: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = plaintext.to_vec();
    let tag = ChaCha20Poly1305::new(key.into())
        .encrypt_in_place_detached(&Nonce::default(), hash, &mut sealed)
        .unwrap();
    sealed.extend_from_slice(&tag);
    sealed
}

/// Returns an initiation that claims `machine`, with what its maker takes for the secret shared with the server.
pub fn initiation(
    control: MachinePublic,
    secret: &[u8; 32],
    machine: [u8; 32],
    version: u16,
) -> Vec<u8> {
    let ephemeral = PrivateKey::from_random([0x77; 32]);
    let public = ephemeral.public_bytes();
    let name = hash(&[PATTERN.as_bytes()]);
    let h = hash(&[&name, &prologue(version)]);
    let h = hash(&[&h, control.as_bytes()]);
    let h = hash(&[&h, &public]);
    let agreed = x25519_dalek::x25519(*ephemeral.expose_bytes(), *control.as_bytes());
    let (chaining, key) = mix(&name, &agreed);
    let claimed = sealed(&key, &h, &machine);
    let h = hash(&[&h, &claimed]);
    let (_, key) = mix(&chaining, secret);
    let tag = sealed(&key, &h, &[]);
    let head = [TYPE_INITIATION, 0, 96];
    [&version.to_be_bytes()[..], &head, &public, &claimed, &tag].concat()
}
