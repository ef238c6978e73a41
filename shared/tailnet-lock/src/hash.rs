//! Hashes of updates and of what is signed.

use std::fmt;

use blake2::{Blake2s256, Digest as _};
use data_encoding::BASE32_NOPAD;

/// The BLAKE2s-256 hash of an update. Its text is base32 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpdateHash(pub [u8; 32]);

impl UpdateHash {
    /// Reads its text; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for UpdateHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&BASE32_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for UpdateHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// Hashes bytes with BLAKE2s-256.
pub(crate) fn hash_bytes(bytes: &[u8]) -> [u8; 32] {
    Blake2s256::digest(bytes).into()
}
