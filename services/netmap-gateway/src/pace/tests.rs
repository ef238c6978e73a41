use bowline_netmap::fixture::node_id;

use super::*;

#[test]
fn burst_passes_and_then_the_newest_of_each_second() {
    let mut waiting = DelayedValues::default();
    let tailnet = TailnetId::try_from(1_u64).unwrap();
    let (one, other) = ((tailnet, node_id(1)), (tailnet, node_id(2)));
    let start = Instant::now();
    let joined = |newer: Vec<u32>, older: Vec<u32>| [older, newer].concat();
    for number in 0..10 {
        let offered = waiting.offer(one, vec![number], start, joined);
        assert_eq!(offered, PaceDecision::Pass(vec![number]));
    }
    let second = Duration::from_secs(1);
    assert_eq!(
        waiting.offer(one, vec![10], start, joined),
        PaceDecision::Wait(second)
    );
    for number in 11..100 {
        let offered = waiting.offer(one, vec![number], start + second / 2, joined);
        assert_eq!(offered, PaceDecision::Joined);
    }
    let offered = waiting.offer(other, vec![0], start, joined);
    assert_eq!(
        offered,
        PaceDecision::Pass(vec![0]),
        "another node's is its own"
    );
    let all: Vec<_> = (10..100).collect();
    assert_eq!(waiting.take(one, start + second), Some(all));
    assert_eq!(waiting.take(one, start + second), None);
    let offered = waiting.offer(one, vec![100], start + second, joined);
    assert_eq!(offered, PaceDecision::Wait(second), "one a second");
}
