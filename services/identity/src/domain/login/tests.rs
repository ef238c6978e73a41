use super::*;

fn pending() -> Login {
    new(
        "00".repeat(16),
        vec![1; 32],
        vec![2; 32],
        Device::default(),
        DateTime::UNIX_EPOCH,
    )
    .unwrap()
}

#[test]
fn nobody_decides_after_the_end() {
    let mut login = with_state_at(pending(), DateTime::UNIX_EPOCH + LIFETIME);
    assert_eq!(login.state(), LoginState::Expired);
    assert!(approve_login(&mut login, 1, 2).is_err());
    assert!(deny_login(&mut login, "").is_err());
    assert_eq!(
        with_state_at(pending(), DateTime::UNIX_EPOCH).state(),
        LoginState::Pending
    );
}

#[test]
fn decision_stands_and_repeats_harmlessly() {
    let mut login = pending();
    approve_login(&mut login, 1, 2).unwrap();
    approve_login(&mut login, 1, 2).unwrap();
    assert!(approve_login(&mut login, 1, 3).is_err());
    assert!(deny_login(&mut login, "").is_err());
    let mut login = pending();
    deny_login(&mut login, "not ours").unwrap();
    deny_login(&mut login, "").unwrap();
    assert_eq!(login.denial, "not ours");
    assert!(approve_login(&mut login, 1, 2).is_err());
}

#[test]
fn keys_of_another_length_are_refused() {
    assert!(
        new(
            String::new(),
            vec![1; 31],
            vec![2; 32],
            Device::default(),
            DateTime::UNIX_EPOCH
        )
        .is_err()
    );
}
