use chrono::TimeDelta;

use super::*;
use crate::domain::tests::{node, now};

fn waiting() -> Node {
    Node {
        approved: false,
        ..node()
    }
}

#[test]
fn denial_ends_the_key_once_and_stands_until_an_approval() {
    let mut denied = waiting();
    deny(&mut denied, now()).expect("it waits");
    assert!(denied.denied && !denied.approved && denied.expired);
    let once = denied.clone();
    deny(&mut denied, now() + TimeDelta::days(1)).expect("it is denied already");
    assert_eq!(denied, once);
    approve(&mut denied);
    assert!(denied.approved && !denied.denied);
    assert!(denied.expired, "a key that has ended stays so");
}

#[test]
fn approved_machine_is_not_denied() {
    let mut approved = node();
    let refused = deny(&mut approved, now()).expect_err("it does not wait");
    assert!(refused.to_string().contains("disable"), "{refused}");
    assert_eq!(approved, node());
}
