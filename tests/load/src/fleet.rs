//! All simulated nodes, and what they know.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_control_wire::KeyResponse;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::{
    access_plan::AccessTable,
    dial::GatewayAddress,
    frame_log::{LoggedFrame, Traffic},
    node::SimulatedNode,
    oracle::check_view,
    roster::{Presence, Roster, Standing},
    view::{Heard, NodeView},
};

/// How long nothing comes before a phase has come to rest.
pub const QUIET: Duration = Duration::from_millis(400);

/// What all nodes share.
pub struct FleetContext {
    /// Where they connect.
    pub gateways: Vec<GatewayAddress>,
    /// The server's public keys.
    pub keys: Arc<KeyResponse>,
    /// What has come.
    pub traffic: Traffic,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl FleetContext {
    /// Returns the surroundings of nodes that connect to gateways.
    pub fn new(gateways: Vec<GatewayAddress>, keys: KeyResponse) -> Self {
        Self {
            gateways,
            keys: Arc::new(keys),
            traffic: Traffic::new(),
            errors: Mutex::default(),
        }
    }

    /// Notes what went wrong, by the step at which it did.
    pub fn count_error(&self, error: &anyhow::Error) {
        *self.errors.lock().entry(error.to_string()).or_default() += 1;
    }

    /// Takes what went wrong so far.
    pub fn take_errors(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.errors.lock())
    }
}

/// What one node was told of a peer, and when.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The place of the node that was told.
    pub place: usize,
    /// When.
    pub at: Instant,
    /// What.
    pub heard: Heard,
}

/// All nodes with their views.
pub struct Fleet {
    /// What they share.
    pub context: Arc<FleetContext>,
    /// The nodes, by place.
    pub nodes: Vec<Arc<SimulatedNode>>,
    views: Vec<NodeView>,
    quiet: Duration,
}

impl Fleet {
    /// Returns a fleet without nodes, at rest when nothing has come for a time.
    pub fn new(context: Arc<FleetContext>, quiet: Duration) -> Self {
        Self {
            context,
            nodes: Vec::new(),
            views: Vec::new(),
            quiet,
        }
    }

    /// Adds nodes.
    pub fn extend(&mut self, nodes: impl IntoIterator<Item = SimulatedNode>) {
        self.nodes.extend(nodes.into_iter().map(Arc::new));
        self.views.resize_with(self.nodes.len(), NodeView::default);
    }

    /// Waits until all nodes at some places have had a first message, and returns how many have not at the deadline.
    pub async fn wait_for_maps(&self, places: &[usize], deadline: Instant) -> usize {
        loop {
            let waits = |place: &&usize| self.nodes[**place].waited().is_none();
            let waiting = places.iter().filter(waits).count();
            if waiting == 0 || Instant::now() > deadline {
                return waiting;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing has come for a moment, and returns when the last frame came.
    pub async fn wait_for_quiet(&self, deadline: Instant) -> Instant {
        let began = Instant::now();
        loop {
            let last = self.context.traffic.last();
            let rest = last.max(began) + self.quiet;
            if Instant::now() >= rest.min(deadline) {
                return last;
            }
            sleep(
                rest.duration_since(Instant::now())
                    .max(Duration::from_millis(1)),
            )
            .await;
        }
    }

    /// Opens all frames that have come, and returns what `is_wanted` of what they said of single peers, with the number of nodes
    /// that were told anything.
    pub fn open_frames(&mut self, is_wanted: impl Fn(&Heard) -> bool + Sync) -> (Vec<Told>, usize) {
        let (context, is_wanted) = (&self.context, &is_wanted);
        let opened = Mutex::new((Vec::new(), 0));
        let share = self.nodes.len().div_ceil(available_threads()).max(1);
        let shares = self.nodes.chunks(share).zip(self.views.chunks_mut(share));
        std::thread::scope(|scope| {
            for (nodes, views) in shares {
                let opened = &opened;
                scope.spawn(move || {
                    for (node, view) in nodes.iter().zip(views) {
                        let frames = node.log.take();
                        if frames.is_empty() {
                            continue;
                        }
                        let told = open_frames_of(node, frames, view, context, is_wanted);
                        let mut opened = opened.lock();
                        opened.0.extend(told);
                        opened.1 += 1;
                    }
                });
            }
        });
        opened.into_inner()
    }

    /// Compares the view of each node that can be right with what it has to be; returns how many, and what is wrong.
    pub fn check(&self, roster: &Roster, table: &AccessTable) -> (usize, Vec<String>) {
        let can_be_right = |place: &usize| {
            let node = &roster.nodes()[*place];
            node.standing == Standing::Present && node.presence == Presence::Online
        };
        let places: Vec<_> = (0..roster.nodes().len()).filter(can_be_right).collect();
        let share = places.len().div_ceil(available_threads()).max(1);
        let faults = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for places in places.chunks(share) {
                let (faults, views) = (&faults, &self.views);
                scope.spawn(move || {
                    for place in places {
                        let found = check_view(roster, table, *place, &views[*place]);
                        faults.lock().extend(found);
                    }
                });
            }
        });
        (places.len(), faults.into_inner())
    }
}

fn open_frames_of(
    node: &SimulatedNode,
    frames: Vec<LoggedFrame>,
    view: &mut NodeView,
    context: &FleetContext,
    is_wanted: &impl Fn(&Heard) -> bool,
) -> Vec<Told> {
    let mut told = Vec::new();
    for frame in frames {
        if frame.is_first {
            *view = NodeView::default();
        }
        match node.read(context, &frame.frame) {
            Ok(message) => {
                let heard = view.apply(message).into_iter().filter(is_wanted);
                told.extend(heard.map(|heard| Told {
                    place: node.place,
                    at: frame.at,
                    heard,
                }));
            }
            Err(error) => view
                .faults
                .push(format!("a frame can not be read: {error:#}")),
        }
    }
    told
}

fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
