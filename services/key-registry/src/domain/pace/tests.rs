use super::*;

/// Returns when it is rested after so many times at once.
fn after(times: i32, pace: Pace, rested_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    (0..times).fold(rested_at, |rested, _| next_rest(pace, rested, now).unwrap())
}

#[test]
fn burst_at_once_then_one_in_each_interval() {
    let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    for (pace, burst) in [(CHANGES, 5), (ROTATIONS, 10), (NEW_NODES, 100)] {
        let interval = pace.interval;
        let rested = after(burst, pace, DateTime::UNIX_EPOCH, start);
        let due = next_rest(pace, rested, start).unwrap_err();
        assert_eq!(due, start + interval);
        let rested = next_rest(pace, rested, due).unwrap();
        assert_eq!(next_rest(pace, rested, due).unwrap_err(), due + interval);
        let idle = due + TimeDelta::minutes(5);
        let rested = after(burst, pace, rested, idle);
        assert!(next_rest(pace, rested, idle).is_err());
        let set_back = start - TimeDelta::days(1);
        let due = next_rest(pace, rested, set_back).unwrap_err();
        assert!(due <= set_back + LONGEST_REST + interval);
    }
}

#[test]
fn changes_and_rotations_of_a_node_count_together() {
    let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let rested = after(5, CHANGES, start, start);
    assert!(next_rest(CHANGES, rested, start).is_err());
    let rested = after(5, ROTATIONS, rested, start);
    assert!(next_rest(ROTATIONS, rested, start).is_err());
    let due = next_rest(CHANGES, rested, start).unwrap_err();
    let early = start + TimeDelta::seconds(1);
    assert_eq!(next_rest(CHANGES, rested, early).unwrap_err(), due);
    assert!(next_rest(CHANGES, rested, due).is_ok());
}
