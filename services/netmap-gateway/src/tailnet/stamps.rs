//! Which output of the compiler is newer.

use std::time::{Duration, Instant};

use bowline_proto::policy::v1::Stamp;

/// How long older outputs are refused. No replica lags for so long, so after that the owners were restored to an older
/// state.
const RESTORED_AFTER: Duration = Duration::from_secs(300);

/// The newest output that a follower of the compiler has accepted, whichever replica sent it.
#[derive(Debug, Default)]
pub(super) struct NewestStamp {
    newest: Option<Stamp>,
    behind_since: Option<Instant>,
}

/// What becomes of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StampVerdict {
    /// It is as new as what was accepted before in everything it was computed from.
    Newer,
    /// It was computed from something older: the replica that sent it lags.
    Behind,
    /// Only older outputs have come for long: the owners were restored to an older state.
    Restored,
}

impl NewestStamp {
    /// Judges an output that came at `now`. One that is not behind is the newest from then on.
    pub(super) fn judge_stamp(&mut self, stamp: Stamp, now: Instant) -> StampVerdict {
        let is_behind = self.newest.is_some_and(|newest| {
            stamp.policy_version < newest.policy_version
                || stamp.registry_revision < newest.registry_revision
                || stamp.identity_revision < newest.identity_revision
        });
        let verdict = if !is_behind {
            StampVerdict::Newer
        } else if now - *self.behind_since.get_or_insert(now) < RESTORED_AFTER {
            return StampVerdict::Behind;
        } else {
            StampVerdict::Restored
        };
        *self = Self {
            newest: Some(stamp),
            behind_since: None,
        };
        verdict
    }
}

#[cfg(test)]
mod tests;
