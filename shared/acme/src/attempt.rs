//! Attempts that failed, and when the next one may be made.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

const MINUTE: u64 = 60;
/// How long to wait after each attempt in a row that failed; after more, the last of these. Authorities bound failures by the
/// hour (Let's Encrypt: five for a name): here are five in the first. The first wait is short: at the first start of a whole
/// deployment, the balancer in front may not lead here yet.
const WAITS: [u64; 9] = [
    20,
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    45 * MINUTE,
    60 * MINUTE,
    120 * MINUTE,
    240 * MINUTE,
    480 * MINUTE,
];
/// The longest wait that an authority can ask for.
pub(crate) const LONGEST_WAIT: TimeDelta = TimeDelta::days(7);

/// The last attempt that has not succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedAttempt {
    /// How many in a row.
    pub(crate) failures: u32,
    /// When the next one may be made.
    pub(crate) next: DateTime<Utc>,
    /// What went wrong.
    pub(crate) problem: String,
}

impl FailedAttempt {
    /// Records an attempt that begins: it counts as failed until it has succeeded, so that a process which ends in the midst
    /// of it, again and again, does not order each time.
    pub(crate) fn begin(before: Option<&Self>, now: DateTime<Utc>) -> Self {
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        Self {
            failures,
            next: now + usual_wait(failures),
            problem: "the process ended while it ordered a certificate".to_owned(),
        }
    }

    /// Records why it failed, and how long the authority wants to be left alone.
    pub(crate) fn fail(
        self,
        now: DateTime<Utc>,
        problem: String,
        retry_after: Option<Duration>,
    ) -> Self {
        let asked = TimeDelta::from_std(retry_after.unwrap_or_default());
        let asked = asked.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        Self {
            failures: self.failures,
            next: now + usual_wait(self.failures).max(asked),
            problem,
        }
    }
}

fn usual_wait(failures: u32) -> TimeDelta {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let seconds = WAITS[place.min(WAITS.len() - 1)];
    TimeDelta::seconds(seconds.cast_signed())
}

#[cfg(test)]
mod tests;
