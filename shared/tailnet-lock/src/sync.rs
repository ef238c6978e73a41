//! How two sides find out what the other one misses.
//!
//! Clients keep only the newest updates, and those before them back to a checkpoint. So a checkpoint is what the log and a
//! client that was away for long have in common.

use crate::{
    hash::UpdateHash,
    log::LockLog,
    update::{LockUpdate, UpdateKind},
};

/// How far an offer looks back.
const MOST_STEPS: usize = 1000;

/// What one side says of its chain: its head, and some updates of it, the oldest last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOffer {
    /// The last update.
    pub head: UpdateHash,
    /// Some of its updates, newer ones first.
    pub ancestors: Vec<UpdateHash>,
}

impl LockLog {
    /// Says what the log has: the head, the checkpoints, and the genesis.
    #[must_use]
    pub fn offer(&self) -> SyncOffer {
        let newest = self.newest_first().take(MOST_STEPS);
        let checkpoints = newest
            .filter(|(_, update)| matches!(update.kind, UpdateKind::Checkpoint(_)))
            .map(|(hash, _)| hash);
        let genesis = self.chain().first().copied();
        let mut ancestors: Vec<_> = checkpoints.filter(|hash| Some(*hash) != genesis).collect();
        ancestors.extend(genesis);
        SyncOffer {
            head: self.head(),
            ancestors,
        }
    }

    /// The updates that another side misses, oldest first: all that follow the newest one both have. `None` when they have
    /// none in common: then it is another lock.
    #[must_use]
    pub fn missing_of(&self, remote: &SyncOffer) -> Option<Vec<&LockUpdate>> {
        let known = std::iter::once(&remote.head).chain(&remote.ancestors);
        let mut known = known.filter_map(|hash| self.place_in_chain(hash));
        let newer = &self.chain()[known.next()? + 1..];
        Some(newer.iter().filter_map(|hash| self.update(hash)).collect())
    }
}
