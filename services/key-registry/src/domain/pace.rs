//! Rate limits: a burst at once, then one in each interval.
//!
//! Only one time is kept: when the whole burst will be allowed again. It lies in the database and is read and written by
//! the transaction that it limits, so that a limit holds for all replicas together.
//!
//! Example: five changes at once, then one every ten seconds. Each change moves that time ten seconds ahead. A change is
//! refused that would move it more than fifty seconds ahead of now.

use chrono::{DateTime, TimeDelta, Utc};

/// The size of a burst, and the interval until one more.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    burst: i32,
    interval: TimeDelta,
}

/// What a node changes of itself.
pub const CHANGES: Pace = Pace {
    burst: 5,
    interval: TimeDelta::seconds(10),
};
/// The node keys a node takes. They count as changes: a burst is longer, for people who log out and in while they try.
pub const ROTATIONS: Pace = Pace {
    burst: 10,
    interval: TimeDelta::seconds(10),
};
/// The nodes that one user, or one key without user, makes.
pub const NEW_NODES: Pace = Pace {
    burst: 100,
    interval: TimeDelta::seconds(1),
};
/// How often the audit trail says that one credential was refused.
pub const AUDITED_REFUSALS: Pace = Pace {
    burst: 1,
    interval: TimeDelta::seconds(60),
};
/// More uses of one pre-auth key than this are worth an alarm, where nobody has set a limit.
pub const ALARMING_USES: u32 = 100;
/// The secrets with which a node tries to switch tailnet lock off: each takes the server some effort.
pub const DISABLEMENTS: Pace = Pace {
    burst: 5,
    interval: TimeDelta::seconds(10),
};
/// The locks that a node begins: who initialises one may have to begin again for nodes that have joined meanwhile.
pub const LOCKS: Pace = Pace {
    burst: 10,
    interval: TimeDelta::seconds(10),
};
/// The times that a node adds to the log of tailnet lock.
pub const LOCK_UPDATES: Pace = Pace {
    burst: 30,
    interval: TimeDelta::seconds(10),
};
/// The signatures that a node sends: who removes a trusted key signs all nodes again that rest on it, one by one.
pub const SIGNATURES: Pace = Pace {
    burst: 3000,
    interval: TimeDelta::milliseconds(100),
};
/// How often the audit trail says what a node changes of itself.
pub const AUDITED_EVERY: TimeDelta = TimeDelta::seconds(60);
/// The longest that a pace of a node, of which all count together, takes to have its whole burst again.
const LONGEST_REST: TimeDelta = TimeDelta::seconds(100);

/// Returns the pace of so many in an hour, all of them at once or not; at least one.
pub fn hourly(limit: u32) -> Pace {
    let burst = i32::try_from(limit.max(1)).unwrap_or(i32::MAX);
    let hour = TimeDelta::hours(1);
    Pace {
        burst,
        interval: hour / burst,
    }
}

/// Returns when the whole burst is allowed again if one more is done now, where it was `rested_at` before. The error is the
/// time when one more is allowed.
pub fn next_rest(
    pace: Pace,
    rested_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, DateTime<Utc>> {
    // A clock that was set back makes nobody wait longer than for a whole burst.
    let burst = pace.interval * pace.burst;
    let rested_at = rested_at.max(now).min(now + burst.max(LONGEST_REST));
    let next = rested_at + pace.interval;
    if next - now > burst {
        return Err(next - burst);
    }
    Ok(next)
}

#[cfg(test)]
mod tests;
