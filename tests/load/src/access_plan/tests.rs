use super::*;

#[test]
fn ranges_that_overlap_or_touch_are_one() {
    let merged = merge_ports(vec![(22, 22), (80, 90), (23, 30), (85, 100)]);
    assert_eq!(merged, [(22, 30), (80, 100)]);
}

#[test]
fn people_of_a_scoped_plan_see_themselves_and_the_administrators() {
    let table = AccessPlan::scoped(4).table();
    assert!(table.are_peers(2, 2) && table.are_peers(2, 0) && table.are_peers(0, 2));
    assert!(!table.are_peers(1, 2));
    assert_eq!(table.ports(2, 2), [ALL_PORTS]);
    assert!(table.ports(0, 2).contains(&(22, 22)) && table.ports(2, 0).is_empty());
}

#[test]
fn rule_more_makes_peers() {
    let rule = AccessRule {
        from: Party::Person(1),
        to: Party::Person(2),
        ports: (9000, 9001),
    };
    let table = AccessPlan::scoped(4).with(rule).table();
    assert_eq!(table.ports(1, 2), [(9000, 9001)]);
    assert!(table.are_peers(2, 1) && !table.are_peers(1, 3));
}
