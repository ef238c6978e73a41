use super::*;

fn waiting<const N: usize>(nodes: [(u64, u64, AwaitedPart); N]) -> BTreeMap<NodeId, WaitingNode> {
    let one = |(id, changed_at, waits_for)| {
        let node = WaitingNode {
            changed_at,
            waits_for,
        };
        (NodeId::try_from(id).unwrap(), node)
    };
    nodes.into_iter().map(one).collect()
}

/// Returns how many nodes of which kind are late, and the first.
fn find(late: BTreeMap<AwaitedPart, LateGroup>) -> Vec<(AwaitedPart, usize, u64)> {
    let group = |(part, group): (AwaitedPart, LateGroup)| (part, group.count, group.first.get());
    late.into_iter().map(group).collect()
}

#[test]
fn node_that_waits_is_told_of_once_and_again_when_it_waits_for_something_newer() {
    use AwaitedPart::{Class, User};
    let (mut late, begin) = (LateNodes::default(), Instant::now());
    let at = |second| begin + Duration::from_secs(second);
    let three = || waiting([(1, 5, Class), (2, 6, Class), (3, 7, User)]);
    assert_eq!(find(late.find_late(three(), at(0))), []);
    assert_eq!(find(late.find_late(three(), at(9))), []);
    let told = find(late.find_late(three(), at(10)));
    assert_eq!(told, [(Class, 2, 1), (User, 1, 3)]);
    assert_eq!(find(late.find_late(three(), at(60))), []);
    let newer = || waiting([(1, 9, Class)]);
    assert_eq!(find(late.find_late(newer(), at(61))), []);
    assert_eq!(find(late.find_late(newer(), at(71))), [(Class, 1, 1)]);
}

#[test]
fn node_that_was_shown_meanwhile_is_not_late() {
    let (mut late, begin) = (LateNodes::default(), Instant::now());
    let one = || waiting([(1, 5, AwaitedPart::Class)]);
    for (second, nodes) in [(0, one()), (5, waiting([])), (10, one()), (15, one())] {
        let found = late.find_late(nodes, begin + Duration::from_secs(second));
        assert_eq!(find(found), [], "second {second}");
    }
}
