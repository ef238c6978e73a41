use super::*;
use crate::domain::tests::{node, now};

#[test]
fn key_of_another_machine_is_never_honoured() {
    for wish in [None, Some(now()), Some(now() + TimeDelta::days(1))] {
        assert_eq!(
            judge_bound_key(&node(), &[2; 32], wish, now()),
            BoundKeyVerdict::AnotherMachines
        );
    }
}

#[test]
fn past_wish_is_a_logout_even_of_an_ended_key() {
    let wish = DateTime::from_timestamp(123, 0);
    assert_eq!(
        judge_bound_key(&node(), &[1; 32], wish, now()),
        BoundKeyVerdict::Logout
    );
    let ended = Node {
        expired: true,
        ..node()
    };
    assert_eq!(
        judge_bound_key(&ended, &[1; 32], wish, now()),
        BoundKeyVerdict::Logout
    );
    assert_eq!(
        judge_bound_key(&ended, &[1; 32], None, now()),
        BoundKeyVerdict::Ended
    );
}

#[test]
fn end_can_only_come_sooner() {
    let end = now() + TimeDelta::days(10);
    let ending = Node {
        key_expiry: Some(to_timestamp(end)),
        ..node()
    };
    let sooner = now() + TimeDelta::days(1);
    assert_eq!(
        judge_bound_key(&ending, &[1; 32], Some(sooner), now()),
        BoundKeyVerdict::Shorten(sooner)
    );
    assert_eq!(
        judge_bound_key(&ending, &[1; 32], Some(end + TimeDelta::days(1)), now()),
        BoundKeyVerdict::Good
    );
    assert_eq!(
        judge_bound_key(&ending, &[1; 32], None, end),
        BoundKeyVerdict::Ended
    );
}

#[test]
fn tagged_keys_do_not_end_by_themselves() {
    let owner = KeyOwner {
        tailnet_id: 3,
        user_id: 7,
        tags: Vec::new(),
    };
    let tagged = KeyOwner {
        tags: vec!["tag:a".to_owned()],
        ..owner.clone()
    };
    let lifetime = Some(TimeDelta::days(180));
    let days = |days| Some(to_timestamp(now() + TimeDelta::days(days)));
    assert_eq!(compute_expiry(&tagged, lifetime, None, now()), None);
    assert_eq!(compute_expiry(&owner, lifetime, None, now()), days(180));
    assert_eq!(
        compute_expiry(&owner, lifetime, Some(now() + TimeDelta::days(2)), now()),
        days(2)
    );
    assert_eq!(compute_expiry(&owner, None, None, now()), None);
}

#[test]
fn ended_key_keeps_the_time_of_its_end() {
    let mut ending = Node {
        key_expiry: Some(to_timestamp(now() + TimeDelta::days(1))),
        ..node()
    };
    end_key(&mut ending, now());
    assert_eq!(ending.key_expiry, Some(to_timestamp(now())));
    assert!(ending.expired);
    let ended = ending.clone();
    end_key(&mut ending, now() + TimeDelta::days(2));
    assert_eq!(ending, ended);
    let earlier = Some(to_timestamp(now() - TimeDelta::days(1)));
    let mut past = Node {
        key_expiry: earlier,
        ..node()
    };
    end_key(&mut past, now());
    assert_eq!((past.expired, past.key_expiry), (true, earlier));
    let mut endless = node();
    end_key(&mut endless, now());
    assert_eq!(endless.key_expiry, Some(to_timestamp(now())));
}
