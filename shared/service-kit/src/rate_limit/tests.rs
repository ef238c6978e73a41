use super::*;

const MS: Duration = Duration::from_millis(1);
const LIMIT: RateLimit = RateLimit::new(3, Duration::from_secs(1));

#[test]
fn burst_is_taken_at_once_and_then_one_each_period() {
    let start = Instant::now();
    let mut bucket = TokenBucket::default();
    for after in [0, 10, 20] {
        assert_eq!(bucket.take_token(LIMIT, start + MS * after), Ok(()));
    }
    assert_eq!(bucket.take_token(LIMIT, start + MS * 100), Err(MS * 900));
    assert_eq!(bucket.take_token(LIMIT, start + MS * 999), Err(MS));
    assert_eq!(bucket.take_token(LIMIT, start + MS * 1000), Ok(()));
    assert_eq!(bucket.take_token(LIMIT, start + MS * 1001), Err(MS * 999));
    assert!(!bucket.is_full(start + MS * 3999));
    assert!(bucket.is_full(start + MS * 4000));
}

#[test]
fn token_that_is_given_back_can_be_taken_again() {
    let now = Instant::now();
    let mut bucket = TokenBucket::default();
    (0..3).for_each(|_| assert_eq!(bucket.take_token(LIMIT, now), Ok(())));
    bucket.return_token(LIMIT);
    assert_eq!(bucket.take_token(LIMIT, now), Ok(()));
    assert!(bucket.take_token(LIMIT, now).is_err());
}

#[test]
fn idle_bucket_holds_no_more_than_its_burst() {
    let start = Instant::now();
    let mut bucket = TokenBucket::default();
    assert_eq!(bucket.take_token(LIMIT, start), Ok(()));
    let later = start + Duration::from_secs(3600);
    let taken = (0..10).filter(|_| bucket.take_token(LIMIT, later).is_ok());
    assert_eq!(taken.count(), 3);
}

#[test]
fn instant_before_the_last_one_takes_nothing_more() {
    let start = Instant::now() + Duration::from_secs(10);
    let mut bucket = TokenBucket::default();
    (0..3).for_each(|_| assert_eq!(bucket.take_token(LIMIT, start), Ok(())));
    assert!(bucket.take_token(LIMIT, start - MS).is_err());
}

#[test]
fn limit_of_one_or_none_at_once_lets_one_through_each_period() {
    for burst in [0, 1] {
        let limit = RateLimit::new(burst, MS);
        let start = Instant::now();
        let mut bucket = TokenBucket::default();
        assert_eq!(bucket.take_token(limit, start), Ok(()));
        assert_eq!(bucket.take_token(limit, start), Err(MS));
        assert_eq!(bucket.take_token(limit, start + MS), Ok(()));
    }
}

#[test]
fn holders_are_apart_and_bounded_and_full_buckets_make_room() {
    let start = Instant::now();
    let limit = RateLimit::new(1, Duration::from_secs(1));
    let mut buckets = TokenBuckets::new(limit, 2);
    assert_eq!(buckets.take_token("a", start), Ok(()));
    assert!(buckets.take_token("a", start).is_err());
    assert_eq!(buckets.take_token("b", start), Ok(()));
    assert_eq!(
        buckets.take_token("c", start),
        Ok(()),
        "there is no room for it"
    );
    assert_eq!(buckets.len(), 2);
    let later = start + Duration::from_secs(1);
    assert_eq!(
        buckets.take_token("c", later),
        Ok(()),
        "those of a and b are full"
    );
    assert_eq!(buckets.len(), 1);
    assert!(buckets.take_token("c", later).is_err());
}
