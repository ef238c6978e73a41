//! Keys that sign.

use bowline_tailnet_lock::{
    LockKey, LockState, LockUpdate, UpdateHash, UpdateKind, UpdateSignature,
    derive_disablement_value,
};
use ed25519_dalek::{Signer as _, SigningKey};

/// A key that signs; the same for the same number.
pub(crate) struct TestSigner(SigningKey);

impl TestSigner {
    pub(crate) fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(crate) fn sign(&self, hash: &[u8; 32]) -> [u8; 64] {
        self.0.sign(hash).to_bytes()
    }

    pub(crate) fn key(&self, votes: u64) -> LockKey {
        LockKey {
            id: self.id(),
            votes,
            metadata: [("name".to_owned(), "a key".to_owned())].into(),
        }
    }
}

/// An update that these keys have signed.
pub(crate) fn signed_update(
    kind: UpdateKind,
    parent: Option<UpdateHash>,
    signers: &[&TestSigner],
) -> LockUpdate {
    let mut update = LockUpdate {
        kind,
        parent,
        signatures: Vec::new(),
    };
    let hash = update.signed_hash();
    let sign = |signer: &&TestSigner| UpdateSignature {
        key: signer.id(),
        signature: signer.sign(&hash),
    };
    update.signatures = signers.iter().map(sign).collect();
    update
}

/// A state that trusts these keys.
pub(crate) fn trusting(keys: &[(&TestSigner, u64)]) -> LockState {
    LockState {
        disablement_values: vec![derive_disablement_value(b"secret").expect("short")],
        keys: keys
            .iter()
            .map(|(key, votes)| key.key(*votes).into())
            .collect(),
        ids: (1, u64::MAX),
    }
}

/// A first update that trusts these keys, and that the first of them has signed.
pub(crate) fn genesis(keys: &[(&TestSigner, u64)]) -> LockUpdate {
    let state = UpdateKind::Checkpoint(trusting(keys));
    signed_update(state, None, &[keys[0].0])
}
