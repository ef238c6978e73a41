use super::*;

#[test]
fn waits_grow_so_that_an_hour_sees_five_failures_and_an_authority_can_ask_for_more() {
    let start = DateTime::UNIX_EPOCH;
    let mut last: Option<FailedAttempt> = None;
    let mut times = Vec::new();
    let mut now = start;
    for _ in 0..12 {
        times.push(now);
        let begun = FailedAttempt::begin(last.as_ref(), now);
        let failed = begun.fail(now, "no".to_owned(), None);
        now = failed.next;
        last = Some(failed);
    }
    let hour = TimeDelta::hours(1);
    for time in &times {
        let following = times
            .iter()
            .filter(|other| *other >= time && **other < *time + hour);
        assert!(following.count() <= 5, "{times:?}");
    }
    assert_eq!(times[11] - times[10], TimeDelta::hours(8));

    let begun = FailedAttempt::begin(None, start);
    assert_eq!(begun.next, start + TimeDelta::seconds(20));
    let day = Duration::from_secs(24 * 3600);
    let failed = begun.clone().fail(start, String::new(), Some(day));
    assert_eq!(failed.next, start + TimeDelta::days(1));
    let failed = begun.fail(start, String::new(), Some(day * 1000));
    assert_eq!(failed.next, start + TimeDelta::days(7));
}
