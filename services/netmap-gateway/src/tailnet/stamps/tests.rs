use super::*;

fn stamp(policy_version: u64, registry_revision: u64, identity_revision: u64) -> Stamp {
    Stamp {
        policy_version,
        registry_revision,
        identity_revision,
    }
}

#[test]
fn output_of_a_replica_that_lags_in_any_owner_is_refused() {
    let mut stamps = NewestStamp::default();
    let now = Instant::now();
    assert_eq!(stamps.judge_stamp(stamp(2, 2, 2), now), StampVerdict::Newer);
    for behind in [stamp(1, 9, 9), stamp(9, 1, 9), stamp(9, 9, 1)] {
        assert_eq!(stamps.judge_stamp(behind, now), StampVerdict::Behind);
    }
    assert_eq!(stamps.judge_stamp(stamp(2, 2, 2), now), StampVerdict::Newer);
}

#[test]
fn owners_that_were_put_back_are_followed_after_a_while() {
    let mut stamps = NewestStamp::default();
    let start = Instant::now();
    assert_eq!(
        stamps.judge_stamp(stamp(5, 5, 5), start),
        StampVerdict::Newer
    );
    assert_eq!(
        stamps.judge_stamp(stamp(4, 4, 4), start),
        StampVerdict::Behind
    );
    assert_eq!(
        stamps.judge_stamp(stamp(4, 4, 4), start + RESTORED_AFTER / 2),
        StampVerdict::Behind
    );
    assert_eq!(
        stamps.judge_stamp(stamp(4, 4, 4), start + RESTORED_AFTER),
        StampVerdict::Restored
    );
    assert_eq!(
        stamps.judge_stamp(stamp(4, 5, 4), start + RESTORED_AFTER),
        StampVerdict::Newer
    );
}

#[test]
fn a_newer_output_ends_the_wait_of_an_older_one() {
    let mut stamps = NewestStamp::default();
    let start = Instant::now();
    assert_eq!(
        stamps.judge_stamp(stamp(5, 5, 5), start),
        StampVerdict::Newer
    );
    assert_eq!(
        stamps.judge_stamp(stamp(4, 4, 4), start),
        StampVerdict::Behind
    );
    assert_eq!(
        stamps.judge_stamp(stamp(6, 6, 6), start + RESTORED_AFTER / 2),
        StampVerdict::Newer
    );
    assert_eq!(
        stamps.judge_stamp(stamp(5, 5, 5), start + RESTORED_AFTER),
        StampVerdict::Behind
    );
}
