use super::*;
use crate::identity::v1::SuspensionSource;

#[test]
fn who_is_suspended_besides_does_not_only_wait() {
    let waiting = User {
        suspended: true,
        awaits_approval: true,
        ..User::default()
    };
    assert!(waiting.only_awaits_approval());
    let by_somebody = User {
        suspended_by: vec![SuspensionSource::Administrator.into()],
        ..waiting.clone()
    };
    let by_provider = User {
        suspended_by_connection_id: 7,
        ..waiting
    };
    for user in [by_somebody, by_provider, User::default()] {
        assert!(!user.only_awaits_approval(), "{user:?}");
    }
}
