use super::*;

#[test]
fn replica_that_failed_is_passed_over_longer_each_time_and_tried_by_one_call() {
    let mut now = Instant::now();
    let mut standing = ReplicaHealth::default();
    for seconds in [1, 2, 4, 8, 16, 16] {
        standing.note_failure(now);
        now += Duration::from_millis(seconds * 1000 - 1);
        assert!(standing.is_down(now), "{seconds}");
        now += Duration::from_millis(1);
        assert!(!standing.is_down(now), "{seconds}");
        standing.note_attempt(now);
        assert!(standing.is_down(now), "the others go on passing it over");
    }
    standing.note_answer();
    assert!(!standing.is_down(now));
    standing.note_failure(now);
    assert!(!standing.is_down(now + DOWN));
}

#[test]
fn calls_that_fail_together_count_once() {
    let now = Instant::now();
    let mut standing = ReplicaHealth::default();
    for _ in 0..100 {
        standing.note_failure(now);
    }
    assert!(!standing.is_down(now + DOWN));
}

#[test]
fn trial_that_nobody_finishes_does_not_last() {
    let now = Instant::now();
    let mut standing = ReplicaHealth::default();
    standing.note_failure(now);
    standing.note_attempt(now + DOWN);
    assert!(standing.is_down(now + DOWN));
    assert!(!standing.is_down(now + DOWN + TRIAL));
}
