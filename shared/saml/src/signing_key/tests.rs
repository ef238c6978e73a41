//! Keys that are made and kept.

use chrono::NaiveDate;

use super::*;
use crate::PublicKeyKind;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 27).unwrap()
}

#[test]
fn a_key_is_kept_and_read_again() {
    for (kind, public) in [
        (SigningKeyKind::Rsa, PublicKeyKind::Rsa(3072)),
        (SigningKeyKind::P256, PublicKeyKind::EllipticCurve(256)),
    ] {
        let key = SigningKey::generate(kind, "sp.example.com", today(), 1095).unwrap();
        assert_eq!(key.certificate().key_kind(), public);
        assert_eq!(key.certificate().subject(), "CN=sp.example.com");
        let (from, until) = key.certificate().validity();
        assert_eq!(from.date_naive(), today());
        assert_eq!((until - from).num_days(), 1095);
        let again = SigningKey::from_pkcs8(key.to_pkcs8(), key.certificate().der()).unwrap();
        assert_eq!(again.certificate(), key.certificate());
        assert!(!format!("{key:?}").contains("pkcs8"));
    }
}

#[test]
fn damaged_keys_and_certificates_of_others_are_refused() {
    let make = || SigningKey::generate(SigningKeyKind::P256, "sp", today(), 1).unwrap();
    let (key, other) = (make(), make());
    let result = SigningKey::from_pkcs8(key.to_pkcs8(), other.certificate().der());
    assert!(matches!(result, Err(SigningKeyError::OtherKey)));
    let result = SigningKey::from_pkcs8(key.to_pkcs8(), b"no certificate");
    assert!(matches!(result, Err(SigningKeyError::Certificate(_))));
    let result = SigningKey::from_pkcs8(vec![1, 2, 3].into(), key.certificate().der());
    assert!(matches!(result, Err(SigningKeyError::Key)));
}
