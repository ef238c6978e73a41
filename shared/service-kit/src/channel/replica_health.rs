//! Whether calls go to a replica: pure, the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// How long a replica is passed over at first; twice as long each further time in a row.
const DOWN: Duration = Duration::from_secs(1);
/// How often that doubles.
const DOUBLINGS: u32 = 4;
/// How long one call may try a replica while the others go on passing it over.
const TRIAL: Duration = Duration::from_secs(10);

/// What is known of a replica.
///
/// One that fails is passed over for a while. Then one call tries it: an answer makes it good again, a failure has it
/// passed over for longer. So one replica that hangs costs one call now and then, not every second call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReplicaHealth {
    /// It answers, as far as is known.
    #[default]
    Good,
    /// It failed so many times in a row.
    Failed { times: u32, until: Instant },
    /// A call tries it.
    OnTrial { times: u32, until: Instant },
}

impl ReplicaHealth {
    /// Tells whether calls go to others first.
    pub(super) fn is_down(self, now: Instant) -> bool {
        match self {
            Self::Good => false,
            Self::Failed { until, .. } | Self::OnTrial { until, .. } => until > now,
        }
    }

    /// Notes that a call goes there.
    pub(super) fn note_attempt(&mut self, now: Instant) {
        if let Self::Failed { times, .. } | Self::OnTrial { times, .. } = *self
            && !self.is_down(now)
        {
            let until = now + TRIAL;
            *self = Self::OnTrial { times, until };
        }
    }

    /// Notes an answer.
    pub(super) fn note_answer(&mut self) {
        *self = Self::Good;
    }

    /// Notes that it could not be reached, or did not answer in time. Calls that were under way together count once.
    pub(super) fn note_failure(&mut self, now: Instant) {
        let times = match *self {
            Self::Good => 0,
            Self::Failed { until, .. } if until > now => return,
            Self::Failed { times, .. } | Self::OnTrial { times, .. } => times,
        };
        let until = now + DOWN * 2_u32.pow(times.min(DOUBLINGS));
        let times = times.saturating_add(1);
        *self = Self::Failed { times, until };
    }
}

#[cfg(test)]
mod tests;
