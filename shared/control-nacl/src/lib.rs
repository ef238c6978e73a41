//! The crypto_box transport of older clients (protocol section 3.2).
//!
//! ```text
//! sealed = nonce[24] || tag[16] || ciphertext        (Curve25519, XSalsa20, Poly1305)
//! ```
//!
//! A box that opens proves that its sender holds the machine key. It proves nothing about when it was made:
//! [`ReplayCache`] refuses exact repetitions for a while.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod replay;

use bowline_keys::{MachinePublic, PrivateKey, is_low_order};
use crypto_box::{PublicKey, SalsaBox, SecretKey, aead::Aead};

pub use replay::ReplayCache;

/// The length of a nonce.
pub const NONCE: usize = 24;
const OVERHEAD: usize = NONCE + 16;

/// Why a sealed message can not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than a nonce and a tag.
    #[error("a sealed message of {0} bytes is too short")]
    Length(usize),
    /// The sender's key makes every shared secret zero.
    #[error("the machine key is of low order")]
    LowOrder,
    /// Sealed by another key, for another key, or changed on the way.
    #[error("the message can not be opened: the server's key may have changed, restart the client")]
    Decryption,
}

/// A message that was opened.
pub struct Opened<'k> {
    /// What was sealed.
    pub plaintext: Vec<u8>,
    /// The nonce it was sealed with.
    pub nonce: [u8; NONCE],
    /// The control key it was sealed for: the answer is sealed with the same.
    pub control: &'k PrivateKey,
}

/// Opens a message of `machine` sealed for one of the control keys, which are tried in order.
///
/// # Errors
///
/// Any [`OpenError`].
pub fn open_box<'k>(
    sealed: &[u8],
    machine: MachinePublic,
    control: impl IntoIterator<Item = &'k PrivateKey>,
) -> Result<Opened<'k>, OpenError> {
    if sealed.len() < OVERHEAD {
        return Err(OpenError::Length(sealed.len()));
    }
    if is_low_order(machine.as_bytes()) {
        return Err(OpenError::LowOrder);
    }
    let (nonce, ciphertext) = sealed.split_at(NONCE);
    for key in control {
        let opened = shared_box(key, machine.as_bytes()).decrypt(nonce.into(), ciphertext);
        if let Ok(plaintext) = opened {
            let nonce = nonce.try_into().unwrap_or([0; NONCE]);
            return Ok(Opened {
                plaintext,
                nonce,
                control: key,
            });
        }
    }
    Err(OpenError::Decryption)
}

/// Seals a message from `sender` to the holder of `recipient`, with a nonce that is used once.
#[must_use]
pub fn seal_box(
    plaintext: &[u8],
    sender: &PrivateKey,
    recipient: MachinePublic,
    nonce: [u8; NONCE],
) -> Vec<u8> {
    let mut sealed = nonce.to_vec();
    let ciphertext = shared_box(sender, recipient.as_bytes())
        .encrypt((&nonce).into(), plaintext)
        .expect("a message fits in memory");
    sealed.extend_from_slice(&ciphertext);
    sealed
}

fn shared_box(private: &PrivateKey, public: &[u8; 32]) -> SalsaBox {
    SalsaBox::new(
        &PublicKey::from(*public),
        &SecretKey::from(*private.expose_bytes()),
    )
}

#[cfg(test)]
mod tests;
