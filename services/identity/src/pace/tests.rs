use super::*;

#[test]
fn a_source_begins_many_at_once_and_then_few() {
    let (pace, now) = (LoginPace::default(), Instant::now());
    for _ in 0..30 {
        pace.take_turn("192.0.2.7", now).unwrap();
    }
    let refused = pace.take_turn("192.0.2.7", now).unwrap_err();
    assert!(matches!(refused, IdentityError::LoginsTooFast(wait) if wait == NEAR.period));
    pace.take_turn("192.0.2.8", now).unwrap();
    pace.take_turn("192.0.2.7", now + NEAR.period).unwrap();
}

#[test]
fn a_network_of_many_sources_begins_no_faster_than_one() {
    let (pace, now) = (LoginPace::default(), Instant::now());
    let begun = (0..1000).filter(|subnet| {
        pace.take_turn(&format!("2001:db8:0:{subnet:x}::1"), now)
            .is_ok()
    });
    assert_eq!(begun.count(), 60);
}
