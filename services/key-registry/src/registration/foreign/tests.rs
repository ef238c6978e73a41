use super::*;

#[test]
fn each_node_has_an_entry_a_minute_and_never_while_others_wait() {
    let (turns, now) = (AuditTurns::default(), Instant::now());
    assert!(turns.take_turn(1, 0, now) && !turns.take_turn(1, 0, now));
    assert!(turns.take_turn(2, 0, now));
    assert!(!turns.take_turn(3, 1000, now), "others wait");
    assert!(turns.take_turn(3, 0, now));
    assert!(turns.take_turn(1, 0, now + AUDIT_INTERVAL));
}

#[test]
fn it_remembers_a_bounded_number() {
    let (turns, now) = (AuditTurns::default(), Instant::now());
    let taken = (0..20_000).filter(|node| turns.take_turn(*node, 0, now));
    assert_eq!(taken.count(), MOST_NODES);
    assert!(turns.take_turn(20_001, 0, now + AUDIT_INTERVAL));
}
