//! What this gateway adds to the logs of the services, such as reports of its clients. It waits here for the tailnet's
//! follower.

use std::collections::BTreeMap;

use bowline_ids::NodeId;
use bowline_proto::key_registry::v1::ClientReport;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// The newest of each kind and node: however fast clients report, no queue grows.
#[derive(Debug, Default)]
pub(super) struct LocalInputs {
    state: Mutex<InputsState>,
    news: Notify,
}

#[derive(Debug, Default)]
struct InputsState {
    waiting: WaitingInputs,
    is_closed: bool,
}

/// What waits for the follower.
#[derive(Debug, Default)]
pub(super) struct WaitingInputs {
    /// What clients reported, by node.
    pub(super) reports: BTreeMap<NodeId, ClientReport>,
    /// What the registry made of reports, by node.
    pub(super) outcomes: BTreeMap<NodeId, ReportOutcome>,
    /// Whether clients are to be told of other relays.
    pub(super) relays: bool,
}

/// What the registry made of the reports of a node up to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportOutcome {
    pub(super) sequence: u64,
    /// The soft revision that has the newest of them; `None` when something newer counts.
    pub(super) applied_at: Option<u64>,
}

impl LocalInputs {
    pub(super) fn add_report(&self, node: NodeId, mut report: ClientReport) {
        self.add(|waiting| {
            if let Some(earlier) = waiting.reports.remove(&node) {
                report.host = report.host.or(earlier.host);
            }
            waiting.reports.insert(node, report);
        });
    }

    pub(super) fn add_outcome(&self, node: NodeId, outcome: ReportOutcome) {
        self.add(|waiting| {
            let kept = waiting.outcomes.entry(node).or_insert(outcome);
            if kept.sequence <= outcome.sequence {
                *kept = outcome;
            }
        });
    }

    pub(super) fn note_relays_changed(&self) {
        self.add(|waiting| waiting.relays = true);
    }

    /// Ends the follower.
    pub(super) fn close_inputs(&self) {
        self.lock_state().is_closed = true;
        self.news.notify_one();
    }

    fn add(&self, add: impl FnOnce(&mut WaitingInputs)) {
        add(&mut self.lock_state().waiting);
        self.news.notify_one();
    }

    /// Waits until there is something; `None` once the inputs are closed. For one follower.
    pub(super) async fn next(&self) -> Option<WaitingInputs> {
        loop {
            {
                let mut state = self.lock_state();
                if state.is_closed {
                    return None;
                }
                if !state.waiting.is_empty() {
                    return Some(std::mem::take(&mut state.waiting));
                }
            }
            self.news.notified().await;
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, InputsState> {
        self.state.lock()
    }
}

impl WaitingInputs {
    fn is_empty(&self) -> bool {
        !self.relays && self.reports.is_empty() && self.outcomes.is_empty()
    }
}

#[cfg(test)]
mod tests;
