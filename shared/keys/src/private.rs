//! The server's own private keys.

use std::{fmt, str::FromStr};

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::public::{KeyError, from_hex};

const PREFIX: &str = "privkey:";

/// A Curve25519 private key: wiped when dropped, never shown, copied only on purpose.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

impl PrivateKey {
    /// Makes a key from 32 random bytes; the caller owns the randomness.
    #[must_use]
    pub const fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the public half.
    #[must_use]
    pub fn public_bytes(&self) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(self.0)).to_bytes()
    }

    /// Returns the secret bytes, for the cryptography that needs them.
    #[must_use]
    pub const fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the text form, for the file it is kept in.
    #[must_use]
    pub fn expose_text(&self) -> Zeroizing<String> {
        use fmt::Write as _;
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 64));
        text.push_str(PREFIX);
        for byte in self.0 {
            let written = write!(text, "{byte:02x}");
            debug_assert!(written.is_ok(), "writing to a string can not fail");
        }
        text
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_prefix(PREFIX).ok_or(KeyError::Prefix(PREFIX))?;
        from_hex(digits).map(Self)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("privkey:[redacted]")
    }
}

#[cfg(test)]
mod tests;
