//! When the next view is published.
//!
//! Each view wakes the sessions of all whom it concerns. Where many nodes come or report at once, that would be most of the work,
//! and each client would be told of them one by one. So soft state that does not stop changing is published seldom. Hard state
//! does not wait for that: a revocation is published at once, with what else there is.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two views, whatever they are about.
const SHORTEST: Duration = Duration::from_millis(3);
/// The least time between two views of soft state, for each session that looks again.
const SHORTEST_PER_SESSION: Duration = Duration::from_micros(10);
/// The most, while it does not stop changing, for each of these sessions and in all.
const LONGEST_PER_SESSION: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(100);
/// The most while it takes long until all sessions have been woken: so many times as long as that, but not longer than this. The
/// rest of the time is left for nodes that come.
const TIMES_WAKING: u32 = 4;
const LONGEST_WHILE_BUSY: Duration = Duration::from_millis(1500);

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    /// What clients report and whether they are online.
    Soft,
    /// Everything else.
    Hard,
}

/// When the next view of a tailnet is published.
#[derive(Debug)]
pub(super) struct PublishPace {
    published_at: Instant,
    /// The time from one view of soft state to the next.
    interval: Duration,
    /// How long it took to wake all sessions that looked again.
    waking: Duration,
    /// What kind of change waits.
    awaits: Option<ChangeKind>,
    /// Whether a change came before its time.
    came_early: bool,
}

impl PublishPace {
    /// Returns the pace of a tailnet that has not been published.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            published_at: now,
            interval: Duration::ZERO,
            waking: Duration::ZERO,
            awaits: None,
            came_early: false,
        }
    }

    /// Returns when to publish; `None` while there is nothing new.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let interval = match self.awaits? {
            ChangeKind::Soft => self.interval,
            ChangeKind::Hard => self.interval.min(SHORTEST),
        };
        Some(self.published_at + interval)
    }

    /// Notes a change.
    pub(super) fn note_change(&mut self, kind: ChangeKind, now: Instant) {
        self.came_early |= now < self.published_at + self.interval;
        if self.awaits != Some(ChangeKind::Hard) {
            self.awaits = Some(kind);
        }
    }

    /// Notes that a view was published, and how many sessions look again for it.
    pub(super) fn note_published(&mut self, sessions: usize, now: Instant) {
        let of_sessions = |each: Duration| each * u32::try_from(sessions).unwrap_or(u32::MAX);
        let busy = (self.waking * TIMES_WAKING).min(LONGEST_WHILE_BUSY);
        let longest = of_sessions(LONGEST_PER_SESSION).clamp(SHORTEST, LONGEST);
        let longest = longest.max(busy);
        let shortest = of_sessions(SHORTEST_PER_SESSION).clamp(SHORTEST, longest);
        self.interval = match self.came_early {
            true => (self.interval * 2).clamp(shortest, longest),
            false => shortest,
        };
        self.published_at = now;
        self.awaits = None;
        self.came_early = false;
    }

    /// Notes that all sessions have been woken that look again for the last view.
    pub(super) fn note_woken(&mut self, now: Instant) {
        self.waking = now - self.published_at;
    }

    /// Says whether hard state waits.
    pub(super) fn is_urgent(&self) -> bool {
        self.awaits == Some(ChangeKind::Hard)
    }
}

#[cfg(test)]
mod tests;
