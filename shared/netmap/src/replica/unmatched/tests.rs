use super::*;
use crate::fixture::node_id;

fn soft(node_id: u64, soft_revision: u64) -> SoftState {
    SoftState {
        node_id,
        soft_revision,
        ..SoftState::default()
    }
}

#[test]
fn newest_soft_state_of_each_node_is_kept_and_the_oldest_of_too_many_goes() {
    let mut unmatched = UnmatchedSoftStates::default();
    unmatched.put(soft(1, 9));
    unmatched.put(soft(1, 8));
    assert_eq!(unmatched.take(node_id(1)), Some(soft(1, 9)));
    assert_eq!(unmatched.take(node_id(1)), None);
    for id in 1..=MOST as u64 + 1 {
        unmatched.put(soft(id, 10 + id));
    }
    assert_eq!(unmatched.take(node_id(1)), None);
    assert_eq!(unmatched.take(node_id(2)), Some(soft(2, 12)));
}
