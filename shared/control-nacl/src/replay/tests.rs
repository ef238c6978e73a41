use super::*;

#[test]
fn repetition_is_refused_for_five_minutes_and_memory_is_bounded() {
    let start = Instant::now();
    let (machine, other) = (
        MachinePublic::from_bytes([1; 32]),
        MachinePublic::from_bytes([2; 32]),
    );
    let mut cache = ReplayCache::new(3);
    assert!(cache.remember(machine, [0; NONCE], start));
    assert!(!cache.remember(machine, [0; NONCE], start + MEMORY / 2));
    assert!(cache.remember(other, [0; NONCE], start));
    assert!(cache.remember(machine, [0; NONCE], start + MEMORY));
    for nonce in 1..100 {
        assert!(cache.remember(machine, [nonce; NONCE], start + MEMORY));
    }
    for _ in 0..2 {
        assert!(
            !cache.remember(machine, [97; NONCE], start + MEMORY),
            "also of a full cache"
        );
    }
    assert!(cache.seen.len() <= 3 && cache.order.len() <= 3);
}
