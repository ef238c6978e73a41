use super::*;

#[test]
fn kept_deltas_are_bounded_by_their_bytes_and_the_oldest_go_first() {
    let cache = DeltaCache::default();
    let dialect = Dialect {
        version: CapabilityVersion(130),
        compression: Compression::None,
    };
    let key = |until: u64| {
        DeltaKey::new(
            ClassId(1),
            Generation(until - 1),
            Generation(until),
            dialect,
        )
    };
    let large = Bytes::from(vec![0; BUDGET / 3]);
    for until in 1..=4 {
        cache.put(key(until), Some(large.clone()));
        cache.put(key(until), Some(large.clone()));
    }
    let kept: Vec<_> = (1..=4)
        .filter(|until| cache.get(&key(*until)).is_some())
        .collect();
    assert_eq!(kept, [3, 4]);
}
