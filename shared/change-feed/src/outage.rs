//! Tells an outage once, however many try again and again meanwhile.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bowline_ids::TailnetId;
use parking_lot::Mutex;

/// How long something fails before it is an outage: a service that is replaced is away for a moment.
const GRACE: Duration = Duration::from_secs(2);

/// Follows what is tried for many tailnets and fails at the moment.
#[derive(Debug, Default)]
pub struct OutageWatch(Mutex<Failing>);

#[derive(Debug, Default)]
struct Failing {
    /// For which tailnets it fails; `None` is what is tried for all of them together.
    scopes: BTreeSet<Option<TailnetId>>,
    /// Since when it fails for some.
    since: Option<Instant>,
    is_told: bool,
}

impl OutageWatch {
    /// Notes that it fails for a tailnet, or for all (`None`). Returns whether that is to be told: once for an outage, when
    /// it has lasted for some seconds.
    #[must_use]
    pub fn note_failure(&self, scope: Option<TailnetId>, now: Instant) -> bool {
        let mut failing = self.0.lock();
        failing.scopes.insert(scope);
        let since = *failing.since.get_or_insert(now);
        let is_due = !failing.is_told && now.saturating_duration_since(since) >= GRACE;
        failing.is_told |= is_due;
        is_due
    }

    /// Notes that it works for a tailnet, or is tried no more. Returns whether that ends an outage that was told.
    #[must_use]
    pub fn note_success(&self, scope: Option<TailnetId>) -> bool {
        let mut failing = self.0.lock();
        if !failing.scopes.remove(&scope) || !failing.scopes.is_empty() {
            return false;
        }
        std::mem::take(&mut *failing).is_told
    }
}

#[cfg(test)]
mod tests;
