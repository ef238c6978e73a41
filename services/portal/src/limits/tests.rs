use super::*;

#[test]
fn network_that_fails_waits_and_a_holder_that_is_right_goes_on() {
    let limits = SecretLimits::new(RateLimit::new(60, Duration::from_secs(2)));
    let now = tokio::time::Instant::now().into_std();
    let [guesser, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
    for _ in 0..20 {
        drop(limits.begin_try(guesser, "one", now).expect("one of few"));
    }
    let refusal = limits.begin_try(guesser, "one", now).map(drop);
    assert!(matches!(refusal, Err(MustWait::Network(_))), "{refusal:?}");
    for _ in 0..60 {
        let tried = limits.begin_try(other, "one", now).expect("a turn");
        tried.note_right();
    }
    // Who is too fast has guessed nothing, however often.
    for _ in 0..30 {
        let refusal = limits.begin_try(other, "one", now).map(drop);
        assert!(matches!(refusal, Err(MustWait::Holder(_))), "{refusal:?}");
    }
    let tried = limits.begin_try(other, "two", now).expect("another's turn");
    tried.note_right();
}

#[test]
fn many_right_tries_of_one_network_are_under_way_at_once() {
    let limits = SecretLimits::new(RateLimit::new(500, Duration::from_millis(20)));
    let now = tokio::time::Instant::now().into_std();
    let source = IpAddr::from([192, 0, 2, 1]);
    let begun = (0..100).map(|_| limits.begin_try(source, "one", now).expect("a try"));
    let begun: Vec<_> = begun.collect();
    begun.into_iter().for_each(SecretTry::note_right);
    limits
        .begin_try(source, "one", now)
        .expect("nothing was wrong")
        .note_right();
}

#[test]
fn wrong_tries_of_one_network_are_paced() {
    let limits = FailureLimits::default();
    let now = tokio::time::Instant::now().into_std();
    let network = IpAddr::from([192, 0, 2, 1]);
    for _ in 0..20 {
        drop(limits.begin_try(network, now).unwrap());
    }
    limits.begin_try(network, now).unwrap_err();
    drop(limits.begin_try(IpAddr::from([192, 0, 2, 2]), now).unwrap());
    drop(
        limits
            .begin_try(network, now + Duration::from_secs(5))
            .unwrap(),
    );
}
