//! Finds nodes that wait too long to be shown.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bowline_ids::NodeId;
use bowline_netmap::{AwaitedPart, WaitingNode};

/// How long a node may wait: identity and the compiler follow the registry within about a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Remembers which nodes wait, and since when.
#[derive(Debug, Default)]
pub(super) struct LateNodes(BTreeMap<NodeId, Wait>);

#[derive(Debug)]
struct Wait {
    of: WaitingNode,
    since: Instant,
    is_told: bool,
}

/// Nodes that wait too long for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LateGroup {
    /// How many.
    pub(super) count: usize,
    /// The one with the smallest number.
    pub(super) first: NodeId,
}

impl LateNodes {
    /// Notes which nodes wait now, and returns those that have for too long: each once for each time it waits.
    pub(super) fn find_late(
        &mut self,
        waiting: BTreeMap<NodeId, WaitingNode>,
        now: Instant,
    ) -> BTreeMap<AwaitedPart, LateGroup> {
        let mut before = std::mem::take(&mut self.0);
        let mut late = BTreeMap::new();
        for (id, of) in waiting {
            let same = before.remove(&id).filter(|wait| wait.of == of);
            let mut wait = same.unwrap_or(Wait {
                of,
                since: now,
                is_told: false,
            });
            if !wait.is_told && now.saturating_duration_since(wait.since) >= PATIENCE {
                wait.is_told = true;
                let group = late.entry(of.waits_for).or_insert(LateGroup {
                    count: 0,
                    first: id,
                });
                group.count += 1;
            }
            self.0.insert(id, wait);
        }
        late
    }
}

#[cfg(test)]
mod tests;
