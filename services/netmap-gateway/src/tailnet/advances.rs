//! Which tailnets have come further, or are held no more, since that was told.

use std::collections::BTreeSet;

use bowline_ids::TailnetId;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Tailnets whose progress is to be told. For one who tells.
#[derive(Debug, Default)]
pub struct ProgressQueue {
    state: Mutex<ProgressQueueState>,
    news: Notify,
}

#[derive(Debug, Default)]
struct ProgressQueueState {
    untold: BTreeSet<TailnetId>,
    /// Whether something is to be told even if it is nothing: that nothing else is left.
    is_due: bool,
}

/// Some of the tailnets whose progress is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressPart {
    /// The tailnets.
    pub tailnets: Vec<TailnetId>,
    /// Whether no others are to be told.
    pub is_last: bool,
}

impl ProgressQueue {
    /// Notes that a tailnet has come further, that it is held from now on, or no more.
    pub(super) fn note_advance(&self, tailnet: TailnetId) {
        self.lock_state().untold.insert(tailnet);
        self.news.notify_one();
    }

    /// Notes that all of these are to be told again, though they be none.
    pub fn tell_again(&self, tailnets: impl IntoIterator<Item = TailnetId>) {
        let mut state = self.lock_state();
        state.untold.extend(tailnets);
        state.is_due = true;
        self.news.notify_one();
    }

    /// Waits until there is something to tell.
    pub async fn wait_for_advance(&self) {
        loop {
            {
                let state = self.lock_state();
                if state.is_due || !state.untold.is_empty() {
                    return;
                }
            }
            self.news.notified().await;
        }
    }

    /// Takes at most so many.
    pub fn take_part(&self, most: usize) -> ProgressPart {
        let mut state = self.lock_state();
        let rest = state.untold.iter().nth(most).copied();
        let rest = rest.map(|first| state.untold.split_off(&first));
        let taken = std::mem::replace(&mut state.untold, rest.unwrap_or_default());
        state.is_due = false;
        ProgressPart {
            tailnets: taken.into_iter().collect(),
            is_last: state.untold.is_empty(),
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, ProgressQueueState> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests;
