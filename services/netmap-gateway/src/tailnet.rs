//! What this gateway knows of a tailnet, and how it keeps up.

mod change_set;
mod compiled;
mod follower;
mod history;
mod hub;
mod key_index;
mod replica;
mod sessions;
mod soft_state;
mod stamps;
mod view;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bowline_control_wire::DerpMap;
use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::ClientReport;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub use change_set::ChangeSet;
pub use compiled::{ListKey, intersect, login_lists, see_each_other};
pub use history::{History, Wake};
pub use hub::{Found, Hub, Located};
pub use replica::Replica;
pub use sessions::{Seat, Sessions};
pub use view::{Shown, Sources, View};

use crate::encoding::{Blocks, DeltaCache};
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
    pub blocks: Blocks,
    /// The relays its clients are told of.
    pub derp_map: Arc<ArcSwap<DerpMap>>,
    /// How its packet filters name sources.
    pub sources: Sources,
    keys: Arc<KeyIndex>,
    inputs: mpsc::UnboundedSender<Input>,
    progress: watch::Receiver<Progress>,
}

/// What the gateway itself adds to the logs.
#[derive(Debug)]
enum Input {
    /// A client reported its state.
    Report(u64, Box<ClientReport>),
    /// The registry has taken a report up to this sequence.
    Taken(u64, u64),
    /// Clients are to be told of other relays.
    Relays,
}

/// How far a tailnet has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether all owners have been heard: before that nothing is complete.
    pub complete: bool,
    /// The registry revision applied.
    pub registry_revision: u64,
    /// The identity revision applied.
    pub identity_revision: u64,
}

/// The other ends of a tailnet: what its follower hears, and where it says how far it has come.
type Ends = (mpsc::UnboundedReceiver<Input>, watch::Sender<Progress>);

impl Tailnet {
    /// Returns a tailnet of which nothing is known yet.
    fn new(
        id: TailnetId,
        (derp_map, sources): (Arc<ArcSwap<DerpMap>>, Sources),
        keys: Arc<KeyIndex>,
    ) -> (Arc<Self>, Ends) {
        let (inputs, received) = mpsc::unbounded_channel();
        let (sender, progress) = watch::channel(Progress::default());
        let tailnet = Arc::new(Self {
            id,
            history: History::default(),
            sessions: Sessions::default(),
            deltas: DeltaCache::default(),
            blocks: Blocks::default(),
            derp_map,
            sources,
            keys,
            inputs,
            progress,
        });
        (tailnet, (received, sender))
    }

    /// Publishes what a replica holds, if that differs from before.
    fn publish(self: &Arc<Self>, replica: &mut Replica) {
        // What nobody is told of wakes only the session it is about.
        let presences = replica.take_presences();
        if let Some((view, changes)) = replica.publish() {
            self.keys.note(self, &view, &changes);
            self.blocks.note(&view, &changes);
            self.history.publish(view, changes);
        }
        for (node, epoch) in presences {
            self.sessions.heard(node, epoch);
        }
    }

    /// Shows a client's report to its peers at once.
    pub fn report(&self, node: u64, report: ClientReport) {
        // The follower lives as long as the tailnet.
        drop(self.inputs.send(Input::Report(node, Box::new(report))));
    }

    /// Says that the registry keeps a report now.
    pub fn report_taken(&self, node: u64, sequence: u64) {
        drop(self.inputs.send(Input::Taken(node, sequence)));
    }

    /// Says that the relays are others than they were.
    pub fn relays_changed(&self) {
        drop(self.inputs.send(Input::Relays));
    }

    /// Returns how far the tailnet has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until a node is shown with this key, at most for `limit`; says whether it is.
    ///
    /// A node whose key was replaced a moment ago is shown with the key before until the registry's entry arrives.
    pub async fn shows(&self, node: u64, node_key: &[u8], limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut progress = self.progress.clone();
        loop {
            if progress.borrow_and_update().complete && self.has(node, node_key) {
                return true;
            }
            let changed = tokio::time::timeout_at(deadline, progress.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return false;
            }
        }
    }

    fn has(&self, node: u64, node_key: &[u8]) -> bool {
        let view = self.history.view();
        let shown = view.nodes.get(&node);
        shown.is_some_and(|shown| shown.node.node_key == node_key)
    }
}

impl Drop for Tailnet {
    fn drop(&mut self) {
        self.keys.sweep();
    }
}

#[cfg(test)]
pub(crate) mod tests;
