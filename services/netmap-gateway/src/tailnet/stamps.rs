//! Which output of the compiler is newer.

use std::time::{Duration, Instant};

use bowline_proto::policy::v1::Stamp;

/// How long an output that is behind is refused: for longer no replica lags, so the owners were put back to an older
/// state.
const PUT_BACK: Duration = Duration::from_secs(300);

/// What a follower of the compiler has taken so far, whichever replica sent it.
#[derive(Debug, Default)]
pub(super) struct NewestStamp {
    newest: Option<Stamp>,
    behind_since: Option<Instant>,
}

/// What becomes of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StampVerdict {
    /// It is as new as what was taken before in everything it was computed from.
    Newer,
    /// It was computed from something older: the replica that sent it lags.
    Behind,
    /// Nothing but older outputs has come for long: the owners were put back.
    PutBack,
}

impl NewestStamp {
    /// Judges an output that came at a moment; what is not behind counts as taken.
    pub(super) fn judge_stamp(&mut self, stamp: Stamp, now: Instant) -> StampVerdict {
        let is_behind = self.newest.is_some_and(|newest| {
            stamp.policy_version < newest.policy_version
                || stamp.registry_revision < newest.registry_revision
                || stamp.identity_revision < newest.identity_revision
        });
        let verdict = if !is_behind {
            StampVerdict::Newer
        } else if now - *self.behind_since.get_or_insert(now) < PUT_BACK {
            return StampVerdict::Behind;
        } else {
            StampVerdict::PutBack
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
