//! How far a follower is behind its owner's log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Position;

/// How far one follower is behind: it has all that the owner had at some moment.
#[derive(Debug)]
pub(crate) struct FollowerLag(Mutex<LagState>);

#[derive(Debug)]
struct LagState {
    position: Option<Position>,
    /// When the owner had no more than the follower has.
    current_at: Instant,
    /// The oldest head that the follower has not reached, and when the owner was asked for it.
    awaited: Option<(Position, Instant)>,
    /// How many revisions the follower lacked when the owner was asked last.
    revisions: u64,
}

impl FollowerLag {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(LagState {
            position: None,
            current_at: now,
            awaited: None,
            revisions: 0,
        }))
    }

    /// Notes how far the follower has come.
    pub(crate) fn note_position(&self, position: Position) {
        let mut state = self.0.lock();
        state.position = Some(position);
        if let Some((head, asked_at)) = state.awaited
            && !position.is_behind(head)
        {
            (state.current_at, state.awaited, state.revisions) = (asked_at, None, 0);
        }
    }

    /// Notes what the owner had when it was asked.
    pub(crate) fn note_head(&self, head: Position, asked_at: Instant) {
        let mut state = self.0.lock();
        let position = state.position.unwrap_or_default();
        state.revisions = head.revision.saturating_sub(position.revision);
        if state.position.is_some() && !position.is_behind(head) {
            (state.current_at, state.awaited) = (asked_at, None);
        } else if state.awaited.is_none() {
            state.awaited = Some((head, asked_at));
        }
    }

    /// Returns for how long the follower may have missed something, and how many revisions it lacked last.
    pub(crate) fn measure(&self, now: Instant) -> (Duration, u64) {
        let state = self.0.lock();
        (
            now.saturating_duration_since(state.current_at),
            state.revisions,
        )
    }
}

#[cfg(test)]
mod tests;
