use bowline_proto::identity::v1::TagRotation;

use super::*;
use crate::domain::tests::{node, now};

const DAY: TimeDelta = TimeDelta::days(1);

fn seconds(interval: TimeDelta) -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: interval.num_seconds(),
        nanos: 0,
    })
}

fn rules() -> RotationRules {
    let rule = |tag: &str, days| TagRotation {
        tag: tag.to_owned(),
        interval: seconds(DAY * days),
    };
    RotationRules {
        interval: seconds(DAY * 30),
        tags: vec![rule("tag:web", 90), rule("tag:db", 10)],
    }
}

fn with_interval(interval: TimeDelta, login_ends: Option<DateTime<Utc>>) -> Node {
    let mut node = node();
    start_interval(&mut node, Some(interval), login_ends, now());
    node
}

fn end(node: &Node) -> Option<DateTime<Utc>> {
    node.key_expiry.and_then(from_timestamp)
}

#[test]
fn interval_is_the_tailnet_s_the_shortest_of_its_tags_or_the_node_s_own() {
    let found = |tags: &[&str]| {
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        find_interval(&rules(), &node(), &tags)
    };
    assert_eq!(found(&[]), Some(DAY * 30));
    assert_eq!(found(&["tag:web"]), Some(DAY * 90));
    assert_eq!(found(&["tag:db", "tag:other", "tag:web"]), Some(DAY * 10));
    assert_eq!(found(&["tag:other"]), None, "tagged nodes never expire");
    let own = Node {
        rotation_interval: seconds(DAY),
        ..node()
    };
    let tagged = ["tag:db".to_owned()];
    assert_eq!(find_interval(&rules(), &own, &tagged), Some(DAY));
    let never = Node {
        key_never_expires: true,
        ..own
    };
    assert_eq!(find_interval(&rules(), &never, &[]), None);
}

#[test]
fn key_ends_after_an_interval_or_with_the_login() {
    for (login, expected) in [
        (None, now() + DAY * 10),
        (Some(now() + DAY * 20), now() + DAY * 10),
        (Some(now() + DAY * 5), now() + DAY * 5),
    ] {
        let node = with_interval(DAY * 10, login);
        assert_eq!((end(&node), login_end(&node)), (Some(expected), login));
    }
    let mut endless = node();
    start_interval(&mut endless, None, None, now());
    assert_eq!((endless.key_expiry, endless.rotation), (None, None));
}

#[test]
fn key_is_renewed_in_the_last_tenth_until_it_has_ended() {
    let node = with_interval(DAY * 10, None);
    let second = TimeDelta::seconds(1);
    for (at, may) in [
        (DAY * 9 - second, false),
        (DAY * 9, true),
        (DAY * 10 - second, true),
        (DAY * 10, false),
    ] {
        assert_eq!(may_renew(&node, now() + at), may, "{at}");
    }
    let expired = Node {
        expired: true,
        ..node
    };
    assert!(!may_renew(&expired, now() + DAY * 9));
    assert!(!may_renew(&self::node(), now() + DAY * 9));
}

#[test]
fn new_interval_counts_from_when_the_key_was_bound_and_leaves_a_tenth() {
    for (age, expected) in [(0, DAY * 10), (4, DAY * 6), (20, DAY), (9, DAY)] {
        let mut node = node();
        change_interval(&mut node, Some(DAY * 10), now() - DAY * age, now());
        assert_eq!(end(&node), Some(now() + expected), "{age}");
        assert_eq!(may_renew(&node, now()), expected == DAY, "{age}");
    }
    // What is so already stays, also where an administrator has moved the end.
    let mut moved = with_interval(DAY * 10, None);
    move_due(&mut moved, now() + DAY * 40);
    let before = moved.clone();
    change_interval(&mut moved, Some(DAY * 10), now(), now());
    assert_eq!(moved, before);
}

#[test]
fn interval_that_is_gone_leaves_the_end_of_the_login() {
    let login = Some(now() + DAY * 50);
    let mut node = with_interval(DAY * 10, login);
    change_interval(&mut node, None, now(), now());
    assert_eq!((end(&node), &node.rotation), (login, &None));
    // And what has ended stays so.
    let mut ended = with_interval(DAY * 10, None);
    let before = ended.clone();
    change_interval(&mut ended, None, now(), now() + DAY * 11);
    assert_eq!(ended, before);
}

#[test]
fn administrator_moves_the_end_and_the_login_with_it() {
    let mut node = with_interval(DAY * 10, Some(now() + DAY * 20));
    move_due(&mut node, now() + DAY * 15);
    assert_eq!(login_end(&node), Some(now() + DAY * 20));
    move_due(&mut node, now() + DAY * 40);
    assert_eq!(login_end(&node), Some(now() + DAY * 40));
    assert!(may_renew(
        &Node {
            key_expiry: Some(to_timestamp(now() + DAY * 40)),
            ..node
        },
        now() + DAY * 39
    ));
}

#[test]
fn other_tags_another_interval_and_the_end_of_never_need_an_interval() {
    let before = node();
    let differs = |change: fn(&mut Node)| {
        let mut after = before.clone();
        change(&mut after);
        needs_interval(&before, &after)
    };
    assert!(!differs(|node| node.key_expiry = Some(to_timestamp(now()))));
    assert!(differs(|node| node.tags = vec!["tag:web".to_owned()]));
    assert!(differs(|node| node.rotation_interval = seconds(DAY)));
    let never = Node {
        key_never_expires: true,
        ..node()
    };
    assert!(needs_interval(&never, &node()));
    let at = Node {
        key_expiry: Some(to_timestamp(now())),
        ..node()
    };
    assert!(!needs_interval(&never, &at));
    for wrong in [TimeDelta::seconds(59), LONGEST_LIFE + DAY, -DAY] {
        check_interval(wrong).expect_err("it is too short or too long");
    }
    check_interval(DAY).expect("it may be set");
}
