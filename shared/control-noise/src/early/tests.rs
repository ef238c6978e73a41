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
