use prost_types::Duration;

use super::*;
use crate::domain::to_timestamp;

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn week() -> PreAuthKeyRules {
    PreAuthKeyRules {
        max_lifetime: Some(Duration {
            seconds: 7 * 86_400,
            nanos: 0,
        }),
        ..PreAuthKeyRules::default()
    }
}

#[test]
fn key_ends_when_its_maker_says_but_not_later_than_the_rules_allow() {
    let (now, day, none) = (start(), TimeDelta::days(1), PreAuthKeyRules::default());
    let usual = day * 90;
    assert_eq!(choose_end(&none, None, usual, now).unwrap(), now + usual);
    assert_eq!(
        choose_end(&none, Some(now + day * 999), usual, now).unwrap(),
        now + day * 999
    );
    assert_eq!(
        choose_end(&week(), None, usual, now).unwrap(),
        now + day * 7
    );
    assert_eq!(choose_end(&week(), None, day, now).unwrap(), now + day);
    assert_eq!(
        choose_end(&week(), Some(now + day * 7), usual, now).unwrap(),
        now + day * 7
    );
    let refused = choose_end(&week(), Some(now + day * 8), usual, now).unwrap_err();
    assert!(refused.to_string().ends_with("at most 7 days"), "{refused}");
}

#[test]
fn key_that_is_older_than_the_rules_allow_works_no_more() {
    let made = start();
    let key = PreAuthKey {
        created_at: Some(to_timestamp(made)),
        ..PreAuthKey::default()
    };
    let life = TimeDelta::days(7);
    assert_eq!(
        find_key_refusal(&week(), &key, made + life - TimeDelta::seconds(1)),
        None
    );
    let refused = find_key_refusal(&week(), &key, made + life).unwrap();
    assert!(refused.contains("older"), "{refused}");
}

#[test]
fn each_kind_of_key_that_the_rules_do_not_allow_is_refused_in_words() {
    let key = PreAuthKey {
        reusable: true,
        ..PreAuthKey::default()
    };
    let none = PreAuthKeyRules::default();
    for (rules, says) in [
        (
            PreAuthKeyRules {
                only_tagged: true,
                ..none.clone()
            },
            "have to give tags: ask for another",
        ),
        (
            PreAuthKeyRules {
                only_ephemeral: true,
                ..none.clone()
            },
            "have to make ephemeral devices: ask for another",
        ),
        (
            PreAuthKeyRules {
                only_one_off: true,
                ..none.clone()
            },
            "have to work only once: ask for another",
        ),
    ] {
        let refused = find_key_refusal(&rules, &key, start()).unwrap();
        assert!(refused.ends_with(says), "{refused}");
    }
    assert_eq!(find_key_refusal(&none, &key, start()), None);
    let used = PreAuthKey {
        max_uses: 1,
        uses: 1,
        ..key
    };
    let refused = find_uses_refusal(&none, &used).unwrap();
    assert!(
        refused.contains("used once, as often as it may be"),
        "{refused}"
    );
}

#[test]
fn of_two_limits_the_lower_one_counts() {
    let limited = |of_rules, of_key| {
        let rules = PreAuthKeyRules {
            max_uses_per_hour: of_rules,
            ..PreAuthKeyRules::default()
        };
        let key = PreAuthKey {
            max_uses_per_hour: of_key,
            ..PreAuthKey::default()
        };
        hourly_limit(&rules, &key)
    };
    assert_eq!(limited(0, 0), None);
    assert_eq!(limited(5, 0), Some(5));
    assert_eq!(limited(0, 3), Some(3));
    assert_eq!(limited(5, 3), Some(3));
    assert_eq!(limited(2, 3), Some(2));
}

#[test]
fn source_has_to_lie_in_both_lists() {
    let list = |networks: &[&str]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (none, wide, narrow) = (
        list(&[]),
        list(&["10.0.0.0/8"]),
        list(&["10.1.0.0/16", "192.0.2.1/32"]),
    );
    let is_refused =
        |networks: [&[String]; 2], source| find_source_refusal(networks, source).is_some();
    assert!(!is_refused([&none, &none], "203.0.113.1"));
    assert!(!is_refused([&wide, &none], "10.2.0.1"));
    assert!(is_refused([&wide, &none], "203.0.113.1"));
    assert!(is_refused([&wide, &narrow], "10.2.0.1"));
    assert!(is_refused([&wide, &narrow], "192.0.2.1"));
    assert!(!is_refused([&wide, &narrow], "10.1.0.1"));
    assert!(
        is_refused([&none, &narrow], ""),
        "nobody knows where it comes from"
    );
}
