//! What this gateway knows of a tailnet, and how it keeps up.

mod follower;
mod history;
mod hub;
mod inputs;
mod key_index;
mod late_nodes;
mod progress_queue;
mod publish_pace;
mod sessions;
mod stamps;
mod traces;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bowline_control_wire::DerpMap;
use bowline_ids::{NodeId, TailnetId};
use bowline_netmap::{DeltaCache, Difference, FilterSources, PeerBlocks, Replica};
use bowline_proto::key_registry::v1::ClientReport;
use bowline_service_kit::TraceParent;
use tokio::{sync::watch, time::Instant};

pub use history::{GroupWake, History, wait_for_wake};
pub use hub::{LocatedNode, NodeKeyOwner, TailnetHub};
pub use progress_queue::ProgressQueue;
pub use sessions::{SessionSlot, Sessions};

use inputs::{LocalInputs, ReportOutcome};
use key_index::KeyIndex;

/// One tailnet with at least one lately connected client.
#[derive(Debug)]
pub struct Tailnet {
    /// Its number.
    pub id: TailnetId,
    /// The published views.
    pub history: History,
    /// The live map sessions.
    pub sessions: Sessions,
    /// Messages that several sessions send alike.
    pub deltas: DeltaCache,
    /// Parts of first messages that several sessions are sent alike.
    pub blocks: PeerBlocks,
    /// The relays that its clients use.
    pub derp_map: Arc<ArcSwap<DerpMap>>,
    /// How its packet filters name sources.
    pub sources: FilterSources,
    shared: SharedIndexes,
    inputs: Arc<LocalInputs>,
    progress: watch::Receiver<Progress>,
}

/// What all tailnets of a gateway share.
#[derive(Clone, Debug, Default)]
struct SharedIndexes {
    keys: Arc<KeyIndex>,
    progress_queue: Arc<ProgressQueue>,
}

/// How far a tailnet has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the state of all three services has arrived: before that nothing is shown.
    pub complete: bool,
    /// The registry revision applied.
    pub registry_revision: u64,
    /// The identity revision applied.
    pub identity_revision: u64,
}

impl Progress {
    fn revisions(self) -> (u64, u64) {
        (self.registry_revision, self.identity_revision)
    }
}

/// The follower's ends of a tailnet: the inputs that it reads, and where it says how far it has come.
type FollowerEnds = (Arc<LocalInputs>, watch::Sender<Progress>);

impl Tailnet {
    /// Returns a tailnet of which nothing is known yet.
    fn new(
        id: TailnetId,
        derp_map: Arc<ArcSwap<DerpMap>>,
        sources: FilterSources,
        shared: SharedIndexes,
    ) -> (Arc<Self>, FollowerEnds) {
        let inputs = Arc::<LocalInputs>::default();
        let (sender, progress) = watch::channel(Progress::default());
        let tailnet = Arc::new(Self {
            id,
            history: History::default(),
            sessions: Sessions::default(),
            deltas: DeltaCache::default(),
            blocks: PeerBlocks::default(),
            derp_map,
            sources,
            shared,
            inputs: Arc::clone(&inputs),
            progress,
        });
        (tailnet, (inputs, sender))
    }

    /// Publishes what a replica holds, if that differs from before: what follows from these spans. Returns how many sessions
    /// look again when they are woken.
    fn publish_replica(
        self: &Arc<Self>,
        replica: &mut Replica,
        origins: Vec<TraceParent>,
    ) -> usize {
        // No message has a session's epoch, so a change of it goes only to the session of its node.
        let presences = replica.take_presences();
        let mut looking = 0;
        if let Some((view, changes)) = replica.publish() {
            self.shared.keys.note_changes(self, &view, &changes);
            let difference = Arc::new(Difference::find(&view, &changes));
            self.blocks.note_difference(&view, &difference);
            self.history.note_origins(view.generation, origins);
            looking = self.history.publish_view(view, difference);
        }
        for (node, epoch) in presences {
            self.sessions.note_newer_epoch(node, epoch);
        }
        looking
    }

    /// Shows a client's report to its peers at once.
    pub fn show_report(&self, node: NodeId, report: ClientReport) {
        self.inputs.add_report(node, report);
    }

    /// Notes that the registry has accepted the reports of a node up to `sequence`. The newest holds since the soft
    /// revision `applied_at`; `None` when something newer holds.
    pub fn note_report_accepted(&self, node: NodeId, sequence: u64, applied_at: Option<u64>) {
        let outcome = ReportOutcome {
            sequence,
            applied_at,
        };
        self.inputs.add_outcome(node, outcome);
    }

    /// Notes that the relays have changed.
    pub fn note_relays_changed(&self) {
        self.inputs.note_relays_changed();
    }

    /// Returns how far the tailnet has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until a node is shown with this key, at most for `limit`; says whether it is.
    ///
    /// A node whose key was replaced a moment ago is shown with the key before until the registry's entry arrives.
    pub async fn wait_until_shown(&self, node: NodeId, node_key: &[u8], limit: Duration) -> bool {
        self.wait_until(limit, || self.shows_key(node, node_key))
            .await
    }

    /// Waits until a node is shown, whatever its key, at most for `limit`; says whether it is.
    pub async fn wait_until_present(&self, node: NodeId, limit: Duration) -> bool {
        self.wait_until(limit, || self.history.view().nodes.contains_key(&node))
            .await
    }

    async fn wait_until(&self, limit: Duration, is_so: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut progress = self.progress.clone();
        loop {
            if progress.borrow_and_update().complete && is_so() {
                return true;
            }
            let changed = tokio::time::timeout_at(deadline, progress.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return false;
            }
        }
    }

    fn shows_key(&self, node: NodeId, node_key: &[u8]) -> bool {
        let view = self.history.view();
        let shown = view.nodes.get(&node);
        shown.is_some_and(|shown| shown.node.node_key == node_key)
    }
}

impl Drop for Tailnet {
    fn drop(&mut self) {
        self.inputs.close_inputs();
        self.shared.keys.forget_dropped();
        self.shared.progress_queue.note_advance(self.id);
    }
}

#[cfg(test)]
pub(crate) mod tests;
