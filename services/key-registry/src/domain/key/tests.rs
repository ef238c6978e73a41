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
    let days = |days| Some(now() + TimeDelta::days(days));
    assert_eq!(compute_login_end(&tagged, lifetime, None, now()), None);
    assert_eq!(compute_login_end(&owner, lifetime, None, now()), days(180));
    assert_eq!(
        compute_login_end(&owner, lifetime, Some(now() + TimeDelta::days(2)), now()),
        days(2)
    );
    assert_eq!(compute_login_end(&owner, None, None, now()), None);
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

#[test]
fn end_of_a_live_key_is_what_an_administrator_says() {
    let (day, mut own) = (TimeDelta::days(1), node());
    let mut set = |wanted| {
        set_expiry(&mut own, wanted, now()).expect("it may be set");
        (
            own.key_expiry.and_then(from_timestamp),
            own.key_never_expires,
        )
    };
    assert_eq!(set(WantedExpiry::After(day)), (Some(now() + day), false));
    assert_eq!(
        set(WantedExpiry::At(now() + day * 9)),
        (Some(now() + day * 9), false)
    );
    assert_eq!(set(WantedExpiry::Never), (None, true));
    assert_eq!(set(WantedExpiry::After(day)), (Some(now() + day), false));
}

#[test]
fn end_in_the_past_or_too_far_ahead_is_refused_and_changes_nothing() {
    let day = TimeDelta::days(1);
    for (wanted, said) in [
        (WantedExpiry::At(now()), "past"),
        (WantedExpiry::At(now() - day), "past"),
        (WantedExpiry::After(-day), "past"),
        (WantedExpiry::After(day * 40_000), "100 years"),
        (WantedExpiry::After(TimeDelta::MAX), "100 years"),
    ] {
        let mut own = node();
        let refused = set_expiry(&mut own, wanted, now()).expect_err("it is wrong");
        assert!(refused.to_string().contains(said), "{wanted:?}: {refused}");
        assert_eq!(own, node());
    }
}

#[test]
fn key_that_has_ended_is_not_revived_and_one_of_a_tagged_node_ends_by_no_time() {
    let tomorrow = WantedExpiry::After(TimeDelta::days(1));
    let by_time = Node {
        key_expiry: Some(to_timestamp(now())),
        ..node()
    };
    let by_word = Node {
        expired: true,
        ..node()
    };
    for mut ended in [by_time, by_word] {
        for wanted in [tomorrow, WantedExpiry::Never] {
            set_expiry(&mut ended, wanted, now()).expect_err("it has ended");
        }
    }
    let mut tagged = Node {
        tags: vec!["tag:web".to_owned()],
        ..node()
    };
    set_expiry(&mut tagged, tomorrow, now()).expect_err("it has tags");
    set_expiry(&mut tagged, WantedExpiry::Never, now()).expect("that is so anyway");
    assert_eq!(tagged.key_expiry, None);
}

#[test]
fn end_of_a_key_that_has_ended_is_not_taken_off() {
    let ends_in = |seconds| Node {
        key_expiry: Some(to_timestamp(now() + TimeDelta::seconds(seconds))),
        ..node()
    };
    for (seconds, is_removed) in [(60, true), (0, false), (-60, false)] {
        let mut tagged = ends_in(seconds);
        remove_end(&mut tagged, now());
        assert_eq!(tagged.key_expiry.is_none(), is_removed, "{seconds}");
    }
}
