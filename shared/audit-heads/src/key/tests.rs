use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_key_is_made_once_read_again_and_shown_to_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.key");
    let made = create_audit_key(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let read = AuditKey::load(&path).unwrap();
    assert_eq!(read.public(), made.public());
    assert_eq!(
        made.public().to_string().parse::<AuditPublicKey>().unwrap(),
        made.public()
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(!format!("{made:?}").contains(text.trim().strip_prefix(PRIVATE).unwrap()));
    assert!(matches!(
        create_audit_key(&path),
        Err(AuditKeyError::Exists(_))
    ));
    assert!(matches!(
        "bowline-audit-key-AAAA".parse::<AuditKey>(),
        Err(AuditKeyError::Private)
    ));
    assert!(
        "bowline-audit-public-AAAA"
            .parse::<AuditPublicKey>()
            .is_err()
    );
}

#[test]
fn a_signature_is_of_one_message_and_one_key() {
    let directory = tempfile::tempdir().unwrap();
    let [one, other] =
        ["1", "2"].map(|name| create_audit_key(&directory.path().join(name)).unwrap());
    let signature = one.sign(b"message");
    assert!(one.public().verify(b"message", &signature));
    assert!(!one.public().verify(b"other", &signature));
    assert!(!other.public().verify(b"message", &signature));
}
