//! The payload a server may send before its first HTTP/2 byte (protocol section 4.5).

use bowline_keys::ChallengePublic;

/// The first protocol version whose clients understand the payload.
pub const EARLY_PAYLOAD_SINCE: u16 = 49;

/// Returns the bytes to send at the start of the stream to a client of at least [`EARLY_PAYLOAD_SINCE`].
#[must_use]
pub fn early_payload(challenge: ChallengePublic) -> Vec<u8> {
    let json = format!(r#"{{"nodeKeyChallenge":"{challenge}"}}"#);
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    let mut payload = Vec::with_capacity(9 + json.len());
    payload.extend_from_slice(b"\xff\xff\xffTS");
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(json.as_bytes());
    payload
}

#[cfg(test)]
mod tests;
