use super::*;

#[test]
fn each_node_is_told_of_once_in_a_while_and_never_in_the_way() {
    let foreign = ForeignKeys::default();
    assert!(foreign.is_told(1, 0) && !foreign.is_told(1, 0) && foreign.is_told(2, 0));
    assert!(!foreign.is_told(3, 1000), "others wait");
    assert!(foreign.is_told(3, 0));
}

#[test]
fn it_remembers_a_bounded_number() {
    let foreign = ForeignKeys::default();
    let told = (0..20_000).filter(|node| foreign.is_told(*node, 0)).count();
    assert_eq!(told, MOST);
}
