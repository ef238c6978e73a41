use super::*;

#[test]
fn each_node_is_told_of_once_in_a_while_and_never_in_the_way() {
    let foreign = ForeignKeyAudits::default();
    assert!(foreign.take_turn(1, 0) && !foreign.take_turn(1, 0) && foreign.take_turn(2, 0));
    assert!(!foreign.take_turn(3, 1000), "others wait");
    assert!(foreign.take_turn(3, 0));
}

#[test]
fn it_remembers_a_bounded_number() {
    let foreign = ForeignKeyAudits::default();
    let told = (0..20_000)
        .filter(|node| foreign.take_turn(*node, 0))
        .count();
    assert_eq!(told, MOST_NODES);
}
