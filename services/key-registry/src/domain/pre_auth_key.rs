//! Pre-auth keys: `bowline-auth-<id>-<secret>`; only the hash of the text is kept.

use bowline_proto::key_registry::v1::{PreAuthKey, RefusalReason};
use bowline_tokens::{PresentedToken, TokenKind};
use chrono::{DateTime, Utc};

use super::from_timestamp;

/// What `tailscale lock sign` takes for an auth key has this before it.
const SIGNED_KEY_PREFIX: &str = "tskey-auth-";

/// Returns the token in a key's text. What a client was given around it for tailnet lock (`tskey-auth-…--TL…`) is the
/// client's.
pub fn parse_key(text: &str) -> Option<PresentedToken<'_>> {
    let text = text.strip_prefix(SIGNED_KEY_PREFIX).unwrap_or(text);
    let text = text.split_once("--TL").map_or(text, |(text, _)| text);
    PresentedToken::parse_as(TokenKind::PreAuthKey, text)
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
