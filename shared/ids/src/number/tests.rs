use super::*;

#[test]
fn zero_and_numbers_beyond_json_are_refused() {
    assert_eq!(NodeId::try_from(0_u64), Err(InvalidId(0)));
    assert_eq!(NodeId::try_from(-1_i64), Err(InvalidId(-1)));
    assert_eq!(
        NodeId::try_from(MAX + 1),
        Err(InvalidId(i128::from(MAX) + 1))
    );
    assert_eq!(NodeId::try_from(MAX).map(NodeId::get), Ok(MAX));
}

#[test]
fn stable_ids_name_the_number() {
    let id = NodeId::try_from(17_u64).expect("valid");
    assert_eq!(StableNodeId::from(id).to_string(), "n17CNTRL");
    let id = TailnetId::try_from(17_u64).expect("valid");
    assert_eq!(StableTailnetId::from(id).to_string(), "T17CNTRL");
}
