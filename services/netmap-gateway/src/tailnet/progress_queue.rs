//! Which tailnets have applied more, or were dropped, since the registry was told so.

use std::collections::BTreeSet;

use bowline_ids::TailnetId;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Tailnets whose progress the registry has to be told. For one reader.
#[derive(Debug, Default)]
pub struct ProgressQueue {
    state: Mutex<ProgressQueueState>,
    news: Notify,
}

#[derive(Debug, Default)]
struct ProgressQueueState {
    unreported: BTreeSet<TailnetId>,
    /// Whether a report is due even without a tailnet in it: then it says that there is nothing more to tell.
    is_due: bool,
}

/// Some of the tailnets whose progress the registry has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressPart {
    /// The tailnets.
    pub tailnets: Vec<TailnetId>,
    /// Whether no others are left.
    pub is_last: bool,
}

impl ProgressQueue {
    /// Notes that a tailnet has come further, that it is held from now on, or no more.
    pub(super) fn note_advance(&self, tailnet: TailnetId) {
        self.lock_state().unreported.insert(tailnet);
        self.news.notify_one();
    }

    /// Notes that these tailnets have to be reported again. A report is due even when there are none.
    pub fn report_again(&self, tailnets: impl IntoIterator<Item = TailnetId>) {
        let mut state = self.lock_state();
        state.unreported.extend(tailnets);
        state.is_due = true;
        self.news.notify_one();
    }

    /// Waits until there is something to report.
    pub async fn wait_for_advance(&self) {
        loop {
            {
                let state = self.lock_state();
                if state.is_due || !state.unreported.is_empty() {
                    return;
                }
            }
            self.news.notified().await;
        }
    }

    /// Takes at most so many.
    pub fn take_part(&self, most: usize) -> ProgressPart {
        let mut state = self.lock_state();
        let rest = state.unreported.iter().nth(most).copied();
        let rest = rest.map(|first| state.unreported.split_off(&first));
        let taken = std::mem::replace(&mut state.unreported, rest.unwrap_or_default());
        state.is_due = false;
        ProgressPart {
            tailnets: taken.into_iter().collect(),
            is_last: state.unreported.is_empty(),
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, ProgressQueueState> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests;
