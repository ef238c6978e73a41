//! How often a node may change itself: some times at once, then once in a while.

use chrono::{DateTime, TimeDelta, Utc};

/// How many changes are made at once.
const BURST: i32 = 5;
/// How often one more is made then.
const INTERVAL: TimeDelta = TimeDelta::seconds(10);
/// How often the audit trail says what a node changes of itself.
pub const AUDITED_EVERY: TimeDelta = TimeDelta::seconds(60);

/// Returns when a node that changes now has its whole burst again, having it again at `rested_at`; or else when it may
/// change next.
pub fn next_rest(
    rested_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, DateTime<Utc>> {
    // A clock that was set back makes nobody wait longer than a whole burst.
    let rested_at = rested_at.max(now).min(now + INTERVAL * BURST);
    let next = rested_at + INTERVAL;
    if next - now > INTERVAL * BURST {
        return Err(next - INTERVAL * BURST);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_changes_at_once_then_one_in_ten_seconds() {
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let mut rested = DateTime::UNIX_EPOCH;
        for _ in 0..5 {
            rested = next_rest(rested, start).unwrap();
        }
        let due = next_rest(rested, start).unwrap_err();
        assert_eq!(due, start + INTERVAL);
        rested = next_rest(rested, due).unwrap();
        assert_eq!(next_rest(rested, due).unwrap_err(), due + INTERVAL);
        let idle = due + TimeDelta::minutes(5);
        let mut changes = 0;
        while let Ok(next) = next_rest(rested, idle) {
            (rested, changes) = (next, changes + 1);
        }
        assert_eq!(changes, 5);
        let set_back = start - TimeDelta::days(1);
        assert_eq!(
            next_rest(rested, set_back).unwrap_err(),
            set_back + INTERVAL
        );
    }
}
