use super::*;

#[test]
fn network_that_fails_waits_and_a_holder_that_is_right_goes_on() {
    let limits = SecretLimits::new(RateLimit::new(60, Duration::from_secs(2)));
    let now = tokio::time::Instant::now().into_std();
    let [guesser, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
    for _ in 0..20 {
        limits.take_try(guesser, "one", now).expect("one of few");
        limits.settle_try(guesser, "one", false);
    }
    let refusal = limits.take_try(guesser, "one", now);
    assert!(matches!(refusal, Err(MustWait::Network(_))), "{refusal:?}");
    for _ in 0..60 {
        limits.take_try(other, "one", now).expect("a turn");
        limits.settle_try(other, "one", true);
    }
    let refusal = limits.take_try(other, "one", now);
    assert!(matches!(refusal, Err(MustWait::Holder(_))), "{refusal:?}");
    limits.settle_try(other, "one", true);
    limits.take_try(other, "two", now).expect("another's turn");
}
