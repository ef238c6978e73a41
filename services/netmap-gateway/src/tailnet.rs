//! What this gateway knows of a tailnet, and how it keeps up.

mod change_set;
mod compiled;
mod follower;
mod history;
mod hub;
mod replica;
mod sessions;
mod view;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bowline_control_wire::DerpMap;
use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::ClientReport;
use tokio::sync::{mpsc, watch};

pub use change_set::ChangeSet;
pub use compiled::{ListKey, intersect, login_lists, see_each_other};
pub use history::{History, Wake};
pub use hub::{Hub, Located};
pub use replica::Replica;
pub use sessions::{Seat, Sessions};
pub use view::{Shown, Sources, View};

use crate::encoding::{Blocks, DeltaCache};

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
    inputs: mpsc::UnboundedSender<Input>,
    progress: watch::Receiver<Progress>,
}

/// What the gateway itself adds to the logs.
#[derive(Debug)]
enum Input {
    /// A client reported its state.
    Report(u64, ClientReport),
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

impl Tailnet {
    /// Shows a client's report to its peers at once.
    pub fn report(&self, node: u64, report: ClientReport) {
        // The follower lives as long as the tailnet.
        drop(self.inputs.send(Input::Report(node, report)));
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

    /// Waits until a node is shown, at most for `limit`; says whether it is.
    pub async fn shows(&self, node: u64, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut progress = self.progress.clone();
        loop {
            if progress.borrow_and_update().complete
                && self.history.view().nodes.contains_key(&node)
            {
                return true;
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(rest, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
    }
}
