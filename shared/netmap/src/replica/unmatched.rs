//! Soft states of nodes that no entry has brought yet.

use std::collections::BTreeMap;

use bowline_ids::NodeId;
use bowline_proto::key_registry::v1::SoftState;

/// How many are kept: as many as one answer of the registry has at most.
const MOST: usize = 2000;

/// Soft states that wait for their nodes, the newest of each.
///
/// The registry sends a soft state no earlier than its node. They wait here all the same: a row that is dropped does
/// not come again.
#[derive(Debug, Default)]
pub(super) struct UnmatchedSoftStates(BTreeMap<u64, SoftState>);

impl UnmatchedSoftStates {
    /// Keeps a soft state until its node comes; of too many the oldest goes.
    pub(super) fn put(&mut self, soft: SoftState) {
        let kept = self.0.get(&soft.node_id);
        if kept.is_some_and(|kept| kept.soft_revision > soft.soft_revision) {
            return;
        }
        self.0.insert(soft.node_id, soft);
        if self.0.len() > MOST {
            let oldest = self.0.values().min_by_key(|soft| soft.soft_revision);
            if let Some(id) = oldest.map(|soft| soft.node_id) {
                self.0.remove(&id);
            }
        }
    }

    /// Gives up the soft state of a node that has come, or is gone.
    pub(super) fn take(&mut self, node: NodeId) -> Option<SoftState> {
        self.0.remove(&node.get())
    }

    /// Forgets all: a snapshot has every soft state with its node.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
