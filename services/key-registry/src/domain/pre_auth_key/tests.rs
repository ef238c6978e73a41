use chrono::TimeDelta;

use super::*;
use crate::domain::to_timestamp;

#[test]
fn what_tailnet_lock_puts_around_a_key_is_no_part_of_it() {
    let made = TokenKind::PreAuthKey.make_token([1; 6], [2; 32]);
    let suffixed = format!("{}--TLabc-def", *made.text);
    let signed = format!("tskey-auth-{suffixed}");
    for text in [&*made.text, &suffixed, &signed] {
        let key = parse_key(text).expect("a key");
        assert_eq!(key.id(), made.id);
        assert!(key.matches(&made.hash));
    }
    let of_api = TokenKind::ApiKey.make_token([1; 6], [2; 32]);
    assert_eq!(parse_key(&of_api.text), None);
}

#[test]
fn each_end_of_a_key_has_its_reason() {
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(10_000);
    let good = PreAuthKey {
        expires_at: Some(to_timestamp(now + TimeDelta::days(1))),
        ..PreAuthKey::default()
    };
    let reason = |key: &PreAuthKey| {
        let (reason, text) = find_refusal(key, now)?;
        assert!(text.ends_with("ask for another"), "{text}");
        Some(reason)
    };
    assert_eq!(reason(&good), None);
    let expired = PreAuthKey {
        expires_at: Some(to_timestamp(now)),
        ..good.clone()
    };
    assert_eq!(reason(&expired), Some(RefusalReason::PreAuthKeyExpired));
    let used = PreAuthKey {
        uses: 1,
        ..good.clone()
    };
    assert_eq!(reason(&used), Some(RefusalReason::PreAuthKeyUsed));
    assert_eq!(
        reason(&PreAuthKey {
            reusable: true,
            ..used
        }),
        None
    );
    let revoked = PreAuthKey {
        revoked_at: Some(to_timestamp(now)),
        ..good
    };
    assert_eq!(reason(&revoked), Some(RefusalReason::PreAuthKeyRevoked));
}
