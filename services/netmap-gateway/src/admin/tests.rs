use std::{net::IpAddr, time::Instant};

use bowline_proto::access::{CredentialKind, Principal, Role, Scopes, TokenBearer};

use super::{check_address, limits::AdminLimits};

fn principal(user: u64, token: &str) -> Principal {
    Principal {
        tailnet_id: 1,
        holder: TokenBearer::User {
            id: user,
            login_name: "ada@example.com".to_owned(),
            role: Role::Admin,
        },
        scopes: Scopes::everything(),
        credential: CredentialKind::ApiKey,
        credential_id: token.to_owned(),
    }
}

#[test]
fn each_token_and_each_user_has_its_pace() {
    let (limits, now) = (AdminLimits::default(), Instant::now());
    let take = |user, token: &str| limits.take_turn(&principal(user, token), now).is_ok();
    assert!((0..200).all(|_| take(1, "a")));
    assert!(!take(1, "a"), "one token");
    assert!((0..200).all(|_| take(1, "b")));
    assert!(!take(1, "c"), "three tokens of one user");
    assert!(take(2, "d"), "another user");
}

#[test]
fn networks_that_fail_wait_and_others_do_not() {
    let (limits, now) = (AdminLimits::default(), Instant::now());
    let [guesser, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
    for _ in 0..20 {
        assert!(limits.check_failures(guesser, now).is_ok());
        limits.count_failure(guesser, now);
    }
    assert!(limits.check_failures(guesser, now).is_err());
    assert!(limits.check_failures(other, now).is_ok());
    let later = now + std::time::Duration::from_secs(5);
    assert!(limits.check_failures(guesser, later).is_ok());
}

#[test]
fn tokens_travel_in_the_clear_within_the_machine_alone() {
    let address = |text: &str| text.parse().expect("an address");
    assert!(check_address(address("0.0.0.0:8445"), true).is_ok());
    assert!(check_address(address("127.0.0.1:8445"), false).is_ok());
    assert!(check_address(address("0.0.0.0:8445"), false).is_err());
}
