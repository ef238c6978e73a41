//! Pre-auth keys: `bowline-auth-<id>-<secret>`; only the hash of the text is kept.

use bowline_proto::key_registry::v1::{PreAuthKey, RefusalReason};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::from_timestamp;

const PREFIX: &str = "bowline-auth-";
/// The length of an id in text: 6 bytes.
const ID_LENGTH: usize = 12;

/// Returns a key's id and text from random bytes: 6 for the id, 32 for the secret.
pub fn format_key(id: [u8; 6], secret: [u8; 32]) -> (String, String) {
    let id = hex::encode(id);
    let text = format!("{PREFIX}{id}-{}", hex::encode(secret));
    (id, text)
}

/// Returns the id in a key's text. A tailnet-lock suffix (`--TL…`) is none of ours and is left to the client.
pub fn parse_id(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('-')?;
    (id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Returns what is kept of a key's text. The secret has 256 random bits: a fast hash is enough.
pub fn hash_key(text: &str) -> Vec<u8> {
    let text = text.split_once("--TL").map_or(text, |(text, _)| text);
    Sha256::digest(text).to_vec()
}

/// Says in constant time whether a key's text hashes to this.
pub fn matches_hash(text: &str, kept: &[u8]) -> bool {
    hash_key(text).ct_eq(kept).into()
}

/// Says why a key can not register a node now, if it can not.
pub fn find_refusal(key: &PreAuthKey, now: DateTime<Utc>) -> Option<(RefusalReason, &'static str)> {
    if key.revoked_at.is_some() {
        return Some((
            RefusalReason::PreAuthKeyRevoked,
            "the auth key was revoked: ask for another",
        ));
    }
    if key
        .expires_at
        .and_then(from_timestamp)
        .is_some_and(|end| end <= now)
    {
        return Some((
            RefusalReason::PreAuthKeyExpired,
            "the auth key has expired: ask for another",
        ));
    }
    if !key.reusable && key.uses > 0 {
        return Some((
            RefusalReason::PreAuthKeyUsed,
            "the auth key was used already and works only once: ask for another",
        ));
    }
    None
}

#[cfg(test)]
mod tests;
