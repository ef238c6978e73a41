use super::*;

fn key(since: u64, until: u64) -> DeltaKey {
    let dialect = Dialect {
        version: CapabilityVersion(130),
        compression: Compression::None,
    };
    DeltaKey::new(ClassId(1), Generation(since), Generation(until), dialect)
}

fn kept(cache: &DeltaCache, keys: &[(u64, u64)]) -> Vec<bool> {
    let is_kept = |(since, until): &(u64, u64)| cache.get(&key(*since, *until)).is_some();
    keys.iter().map(is_kept).collect()
}

#[test]
fn only_deltas_to_the_newest_generation_are_kept() {
    let cache = DeltaCache::default();
    let frame = Some(Bytes::from_static(b"frame"));
    cache.put(key(1, 3), frame.clone());
    cache.put(key(2, 3), None);
    assert_eq!(cache.get(&key(1, 3)), Some(frame.clone()));
    assert_eq!(cache.get(&key(2, 3)), Some(None));
    cache.put(key(3, 4), frame.clone());
    // Of a session that began to compare before there was a newer generation.
    cache.put(key(2, 3), frame);
    assert_eq!(
        kept(&cache, &[(1, 3), (2, 3), (3, 4)]),
        [false, false, true]
    );
}

#[test]
fn kept_deltas_are_bounded_by_their_bytes() {
    let cache = DeltaCache::default();
    let large = Some(Bytes::from(vec![0; BUDGET / 3]));
    for since in 1..=4 {
        // Again, it takes no more.
        cache.put(key(since, 9), large.clone());
        cache.put(key(since, 9), large.clone());
    }
    assert_eq!(
        kept(&cache, &[(1, 9), (2, 9), (3, 9), (4, 9)]),
        [true, true, false, false]
    );
    // The next generation has room again.
    cache.put(key(4, 10), large);
    assert_eq!(kept(&cache, &[(1, 9), (4, 10)]), [false, true]);
}
