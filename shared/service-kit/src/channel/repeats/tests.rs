use bowline_proto::access::is_idempotency_key;

use super::*;

#[test]
fn random_keys_differ_and_are_keys() {
    let keys = IdempotencyKeys::default();
    let (one, other) = (keys.next_key(), keys.next_key());
    assert_ne!(one, other);
    assert!(is_idempotency_key(one.as_bytes()) && is_idempotency_key(other.as_bytes()));
}

#[test]
fn a_chosen_key_is_that_of_the_first_call_and_others_follow_from_it() {
    let chosen = || IdempotencyKeys::from_chosen("0123456789abcdef").unwrap();
    let take = |keys: IdempotencyKeys| [keys.next_key(), keys.clone().next_key(), keys.next_key()];
    let keys = take(chosen());
    assert_eq!(keys[0], "0123456789abcdef");
    assert!(keys[1] != keys[0] && keys[1] != keys[2] && keys[2] != keys[0]);
    assert!(keys.iter().all(|key| is_idempotency_key(key.as_bytes())));
    assert_eq!(take(chosen()), keys);
    for wrong in [
        "",
        "0123456789abcde",
        "0123456789 abcdef",
        "schlüssel-schlüssel",
    ] {
        assert!(IdempotencyKeys::from_chosen(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn changes_of_administrators_take_keys() {
    assert!(takes_key(
        "/bowline.key_registry.v1.PreAuthKeyService/CreatePreAuthKey"
    ));
    assert!(takes_key(
        "/bowline.identity.v1.TailnetService/CreateTailnet"
    ));
    for other in [
        "/bowline.key_registry.v1.PreAuthKeyService/ListPreAuthKeys",
        "/bowline.identity.v1.TailnetService/ListTailnets",
        "/bowline.identity.v1.LoginService/ListLogins",
        "/bowline.key_registry.v1.RegistrationService/Register",
        "/grpc.health.v1.Health/Check",
    ] {
        assert!(!takes_key(other), "{other}");
    }
}
