//! How two sides find out what the other one misses.

use crate::{hash::UpdateHash, log::LockLog, update::LockUpdate};

/// How far an offer looks back.
const MOST_STEPS: usize = 1000;
/// How many updates are passed over before the first ancestor; four times as many before each further one.
const FIRST_STEP: usize = 4;

/// What one side says of its chain: its head, and some updates before it, the oldest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOffer {
    /// The last update.
    pub head: UpdateHash,
    /// Some before it, newer ones first.
    pub ancestors: Vec<UpdateHash>,
}

impl LockLog {
    /// Says what the log has.
    #[must_use]
    pub fn offer(&self) -> SyncOffer {
        let chain = self.chain();
        let mut ancestors = Vec::new();
        let mut step = FIRST_STEP;
        let oldest_first = chain.len().saturating_sub(1);
        for back in 1..MOST_STEPS.min(oldest_first) {
            if back.is_multiple_of(step) {
                ancestors.push(chain[oldest_first - back]);
                step *= 4;
            }
        }
        ancestors.extend(chain.first());
        SyncOffer {
            head: self.head(),
            ancestors,
        }
    }

    /// The updates that another side misses, oldest first: all that follow the newest one both have. `None` when they have
    /// none in common: then it is another lock.
    #[must_use]
    pub fn missing_of(&self, remote: &SyncOffer) -> Option<Vec<&LockUpdate>> {
        let chain = self.chain();
        let known = std::iter::once(&remote.head).chain(&remote.ancestors);
        let mut known = known.filter_map(|hash| chain.iter().position(|own| own == hash));
        let newer = &chain[known.next()? + 1..];
        Some(newer.iter().filter_map(|hash| self.update(hash)).collect())
    }
}
