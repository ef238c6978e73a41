use super::*;

#[test]
fn what_was_asked_for_last_stays_within_the_bound() {
    let mut cache = PolicyCache::default();
    let policy = Arc::new(Policy::allow_all());
    let tailnet = TailnetId::try_from(1_u64).unwrap();
    for version in 1..=4 {
        cache.insert(tailnet, version, &policy, MOST_BYTES / 4);
    }
    assert!(cache.get(tailnet, 1).is_some(), "all four fit");
    cache.insert(tailnet, 5, &policy, MOST_BYTES / 4);
    assert!(
        cache.get(tailnet, 2).is_none(),
        "nobody asked for it for the longest time"
    );
    assert!(cache.get(tailnet, 1).is_some());
    assert!(cache.get(TailnetId::try_from(2_u64).unwrap(), 1).is_none());
    cache.insert(tailnet, 6, &policy, MOST_BYTES + 1);
    assert!(cache.get(tailnet, 6).is_none() && cache.get(tailnet, 5).is_some());
}
