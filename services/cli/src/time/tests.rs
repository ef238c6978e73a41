use super::*;

#[test]
fn durations_have_a_unit() {
    assert_eq!(parse_duration("24h"), Ok(TimeDelta::hours(24)));
    assert_eq!(parse_duration("30d"), Ok(TimeDelta::days(30)));
    assert_eq!(parse_duration("36500d"), Ok(TimeDelta::days(36_500)));
    for wrong in ["", "24", "h", "-1h", "0d", "1w", "é", "36501d"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}
