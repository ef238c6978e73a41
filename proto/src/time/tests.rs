use super::*;

#[test]
fn times_come_back_to_the_nanosecond() {
    for (seconds, nanos) in [(0, 0), (1_700_000_000, 999_999_999), (-1, 1)] {
        let timestamp = Timestamp { seconds, nanos };
        let time = from_timestamp(timestamp).expect("a time");
        assert_eq!(to_timestamp(time), timestamp);
    }
}

#[test]
fn fields_that_are_no_time_are_none() {
    for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, i32::MAX)] {
        assert_eq!(from_timestamp(Timestamp { seconds, nanos }), None);
    }
}
