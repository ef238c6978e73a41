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
mod tests {
    use super::*;

    #[test]
    fn payload_is_marked_measured_and_short_enough_for_every_client() {
        let payload = early_payload(ChallengePublic::from_bytes([0xab; 32]));
        let (header, json) = payload.split_at(9);
        assert_eq!(&header[..5], b"\xff\xff\xffTS");
        let length = u32::from_be_bytes(header[5..].try_into().unwrap());
        assert_eq!(usize::try_from(length), Ok(json.len()));
        let digits = "ab".repeat(32);
        let expected = format!(r#"{{"nodeKeyChallenge":"chalpub:{digits}"}}"#);
        assert_eq!(std::str::from_utf8(json), Ok(expected.as_str()));
        assert!(json.len() <= 1024, "the Rust client reads no more");
    }
}
