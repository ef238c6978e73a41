use super::*;

#[test]
fn one_holder_can_not_take_the_share_of_another() {
    let quota = Quota::new(10);
    let share = |name: &'static str| quota.share(vec![(name, 4)]);
    let mut greedy = share("a");
    assert!(greedy.grow(3) && greedy.grow(1) && !greedy.grow(1));
    assert!(!share("a").grow(1));
    let mut other = share("b");
    assert!(other.grow(4));
    let mut last = share("c");
    assert!(!last.grow(3), "all together have 10");
    assert!(last.grow(2), "a refusal takes nothing");
    drop((greedy, other, last));
    assert!(share("a").grow(4), "what is dropped is given back");
    assert!(quota.lock_use().each.is_empty());
}

#[test]
fn each_part_of_a_holder_is_bounded() {
    let quota = Quota::new(10);
    let mut one = quota.share(vec![("wide", 3), ("narrow", 2)]);
    assert!(one.grow(2) && !one.grow(1));
    let mut other = quota.share(vec![("wide", 3), ("other", 2)]);
    assert!(other.grow(1) && !other.grow(1));
}
