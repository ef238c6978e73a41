use bowline_proto::time::to_timestamp;
use chrono::DateTime;

use super::*;

#[test]
fn key_of_another_life_than_was_asked_is_refused_by_name() {
    let now = DateTime::UNIX_EPOCH;
    let made = PreAuthKey {
        id: "k7".to_owned(),
        created_at: Some(to_timestamp(now)),
        expires_at: Some(to_timestamp(now + TimeDelta::days(2))),
        ..PreAuthKey::default()
    };
    assert!(require_life(&made, None).is_ok());
    assert!(require_life(&made, Some(TimeDelta::days(2))).is_ok());
    let refused = require_life(&made, Some(TimeDelta::days(90))).unwrap_err();
    assert!(refused.to_string().contains("k7"), "{refused}");
}
