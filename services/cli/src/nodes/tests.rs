use super::*;

#[test]
fn end_is_never_a_duration_or_a_time() {
    assert_eq!(parse_expiry("never"), Ok(Expiry::Never(true)));
    assert_eq!(parse_expiry("policy"), Ok(Expiry::ByPolicy(true)));
    let day = prost_types::Duration {
        seconds: 86_400,
        nanos: 0,
    };
    assert_eq!(parse_expiry("1d"), Ok(Expiry::After(day)));
    assert_eq!(parse_interval("1d"), Ok(Expiry::Every(day)));
    let time = prost_types::Timestamp {
        seconds: 1_893_456_000,
        nanos: 0,
    };
    for text in ["2030-01-01T00:00:00Z", "2030-01-01T01:00:00+01:00"] {
        assert_eq!(parse_expiry(text), Ok(Expiry::At(time)), "{text}");
    }
    for wrong in ["", "soon", "-1d", "0d", "2030-01-01", "Never"] {
        let problem = parse_expiry(wrong).expect_err(wrong);
        assert!(problem.contains("never"), "{problem}");
    }
}
