//! A map session: one client's long poll.
//!
//! ```text
//! first frame: everything ─▶ wait for: a wake of its group │ its keep-alive │ a newer session │ the drain
//!                                   └─▶ compare with the newest view ─▶ at most one frame
//! ```
//!
//! Level-triggered: a wake says only "look again", and the session looks when the client takes the next frame. A
//! slow client holds no queue, only its own lateness.

mod blocking;
mod contest;
mod delivery;
mod end;
mod frames;
mod liveness;
mod sealing;
mod trace;

use std::{pin::Pin, sync::Arc, time::Duration};

use bowline_clock::SharedClock;
use bowline_control_wire::{FrameError, MapResponse, dialect};
use bowline_ids::NodeId;
use bowline_keys::{MachinePublic, NodePublic};
use bowline_netmap::{
    ChangeSet, Delta, DeltaKey, Dialect, Generation, View, ViewerGroup, build_delta, build_full,
    build_node_gone, lost_peers,
};
use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};
use tracing::Instrument as _;

use crate::{
    listener::Connection,
    reporter::Reporter,
    tailnet::{GroupWake, SessionSlot, Tailnet, wait_for_wake},
    turns::Turns,
    woken::PolledWhenWoken,
};

pub use blocking::{busy_processors, run_blocking};
pub use contest::{KeyContest, merge_reports};
pub use delivery::{Deliveries, DeliveryKind, Frames};
pub use frames::{keep_alive, longest_silence};
pub use sealing::FrameSealer;

use end::{SessionEndCause, wait_for_end};
use frames::{EarlierKnowledge, encode_everything, has_own_parts, is_understood};
use liveness::LivenessPings;
use trace::SessionTrace;

/// The least time between two changes for the oldest clients, which read the whole network each time.
const OLD_CLIENT_PACE: Duration = Duration::from_secs(2);

/// One client's long poll.
#[derive(Debug)]
pub struct MapSession {
    tailnet: Arc<Tailnet>,
    node: NodeId,
    node_key: Vec<u8>,
    dialect: Dialect,
    clock: SharedClock,
    reporter: Reporter,
    connection: Connection,
    turns: Arc<Turns>,
    slot: SessionSlot,
    epoch: watch::Receiver<u64>,
    state: ToldState,
    end: PolledWhenWoken<BoxFuture<'static, SessionEndCause>>,
    keep_alive: Pin<Box<Sleep>>,
    /// No change is sent before this time, see [`OLD_CLIENT_PACE`].
    next_at: Instant,
    pings: LivenessPings,
    trace: SessionTrace,
}

/// Whose session begins, and how its client reads messages.
#[derive(Debug)]
pub struct SessionClient {
    /// The tailnet of the node.
    pub tailnet: Arc<Tailnet>,
    /// The node.
    pub node: NodeId,
    /// The node key that the client has: the session ends when the node has another one.
    pub node_key: Vec<u8>,
    /// How the client reads messages.
    pub dialect: Dialect,
    /// The connection that the session lives on.
    pub connection: Connection,
}

/// What the client was told.
#[derive(Debug)]
enum ToldState {
    New,
    Told {
        group: ViewerGroup,
        generation: Generation,
        wake: watch::Receiver<GroupWake>,
    },
    Ended,
}

impl MapSession {
    /// Takes the node's slot among the live sessions; an older session of the node ends.
    #[must_use]
    pub fn begin(
        client: SessionClient,
        clock: SharedClock,
        reporter: Reporter,
        turns: Arc<Turns>,
    ) -> Self {
        let SessionClient {
            tailnet,
            node,
            node_key,
            dialect,
            connection,
        } = client;
        let slot = tailnet.sessions.take_slot(node, connection.number());
        let epoch = reporter.report_session_began(&tailnet, node, &node_key);
        metrics::gauge!("bowline_gateway_map_sessions").increment(1);
        let trace = SessionTrace::new(tailnet.id, node);
        let _entered = trace.session_span().entered();
        tracing::info!(tailnet = %tailnet.id, node = node.get(), version = dialect.version.0, "map session begins");
        let next_at = Instant::now();
        let keep_alive = Box::pin(tokio::time::sleep(longest_silence(node)));
        let end = wait_for_end(slot.wait_until_lost(epoch.clone()), connection.clone()).boxed();
        let state = ToldState::New;
        Self {
            tailnet,
            node,
            node_key,
            dialect,
            clock,
            reporter,
            connection,
            turns,
            slot,
            epoch,
            state,
            end: PolledWhenWoken::new(end),
            keep_alive,
            next_at,
            pings: LivenessPings::default(),
            trace,
        }
    }

    /// Returns the next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// When a frame can not be made: the stream breaks, and the client comes back.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let mut is_keep_alive = false;
            let frame = match &mut self.state {
                ToldState::New => {
                    let view = self
                        .tailnet
                        .history
                        .view()
                        .for_client_version(self.dialect.version);
                    let span = self.trace.session_span();
                    let _recorded = self.trace.begin_first_frame();
                    self.tell_everything(view, EarlierKnowledge::Nothing)
                        .instrument(span)
                        .await?
                }
                ToldState::Ended => return Ok(None),
                ToldState::Told { wake, .. } => {
                    tokio::select! {
                        biased;
                        end = &mut self.end => {
                            if matches!(end, SessionEndCause::SlotLost) && self.slot.is_lost_to_another() {
                                self.connection.contest().note_loss(self.node, Instant::now());
                            }
                            self.state = ToldState::Ended;
                            return Ok(None);
                        }
                        () = &mut self.keep_alive => {
                            is_keep_alive = true;
                            Some(keep_alive(self.dialect)?)
                        }
                        () = self.pings.wait_until_quiet(&self.connection) => {
                            Some(self.dialect.encode(self.pings.next_ping(&self.connection))?)
                        }
                        changed = wait_for_wake(wake, self.next_at) => match changed {
                            Ok(()) => {
                                let span = self.trace.frame_span();
                                self.tell_changes().instrument(span).await?
                            }
                            Err(_) => return Ok(None),
                        },
                    }
                }
            };
            if let Some(frame) = frame {
                let is_paced = dialect::is_paced(self.dialect.version);
                // The oldest clients take nothing but keep-alives as a sign of life (protocol section 3.5).
                if is_keep_alive || !is_paced {
                    let next = Instant::now() + longest_silence(self.node);
                    self.keep_alive.as_mut().reset(next);
                }
                if is_paced {
                    self.next_at = Instant::now() + OLD_CLIENT_PACE;
                }
                return Ok(Some(frame));
            }
        }
    }

    /// Returns a full map: the first, for which the caller has the turn, or a later one, which waits for its turn
    /// here.
    async fn tell_everything(
        &mut self,
        view: Arc<View>,
        earlier: EarlierKnowledge,
    ) -> Result<Option<Bytes>, FrameError> {
        let shown = view.nodes.get(&self.node);
        let Some(shown) = shown.filter(|shown| shown.node.node_key == self.node_key) else {
            return Ok(self.mark_ended());
        };
        let group = ViewerGroup::of(shown);
        // Kept until the map is encoded.
        let _turn_to_encode = match earlier {
            EarlierKnowledge::Nothing => None,
            EarlierKnowledge::Before(_) | EarlierKnowledge::Unknown => {
                self.turns.admit_full_map(self.node).await
            }
        };
        let (tailnet, encoded_view) = (Arc::clone(&self.tailnet), Arc::clone(&view));
        let (node, dialect, now) = (self.node, self.dialect, self.clock.now());
        let frame = run_blocking(move || {
            encode_everything(&tailnet, &encoded_view, node, dialect, now, &earlier)
        })
        .await?;
        if frame.is_none() {
            return Ok(self.mark_ended());
        }
        self.mark_told(&view, group);
        Ok(frame)
    }

    /// Compares what the client was told with what is true, and returns the difference.
    async fn compare_with_newest(&mut self) -> Result<Option<Bytes>, FrameError> {
        let ToldState::Told {
            group,
            generation,
            wake,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let class_before = group.class;
        let since = wake.borrow_and_update().compare_from(*generation);
        let (view, difference) = self.tailnet.history.difference_since(since);
        let view = view.for_client_version(self.dialect.version);
        let shown = view.nodes.get(&self.node);
        let Some(shown) = shown.filter(|shown| shown.node.node_key == self.node_key) else {
            let changes = difference.map(|difference| Arc::clone(difference.changes()));
            return self.tell_gone(&view, changes.as_deref());
        };
        let Some(difference) = difference else {
            return self.tell_everything(view, EarlierKnowledge::Unknown).await;
        };
        let group_now = ViewerGroup::of(shown);
        // A node that may not take part is told something else than its class.
        let may_share_frame = shown.offered
            && class_before == group_now.class
            && dialect::takes_patches(self.dialect.version)
            && difference.tells_class_alike(&view, shown);
        let key = DeltaKey::new(group_now.class, since, view.generation, self.dialect);
        let shared_frame = may_share_frame
            .then(|| self.tailnet.deltas.get(&key))
            .flatten();
        if let Some(frame) = shared_frame {
            self.mark_caught_up(&view, group_now);
            return Ok(frame);
        }
        let message = match build_delta(&view, &difference, self.node, self.clock.now()) {
            Delta::Nothing => None,
            Delta::Message(message) if is_understood(&message, self.dialect) => Some(*message),
            Delta::Message(_) | Delta::Full => {
                let changes = Arc::clone(difference.changes());
                return self
                    .tell_everything(view, EarlierKnowledge::Before(changes))
                    .await;
            }
            Delta::Ended => return self.tell_last(&view, difference.changes()),
        };
        let is_same_for_class = !message.as_ref().is_some_and(has_own_parts);
        let frame = message
            .map(|message| self.dialect.encode(message))
            .transpose()?;
        if may_share_frame && is_same_for_class {
            self.tailnet.deltas.put(key, frame.clone());
        }
        self.mark_caught_up(&view, group_now);
        Ok(frame)
    }

    /// Returns the last frame of a node that may not take part any more, if it is still there.
    fn tell_last(&mut self, view: &View, changes: &ChangeSet) -> Result<Option<Bytes>, FrameError> {
        self.mark_ended();
        let last = build_full(
            view,
            self.node,
            &self.tailnet.derp_map.load(),
            self.clock.now(),
        );
        let last = last.map(|message| MapResponse {
            peers_removed: lost_peers(view, changes, self.node),
            ..message
        });
        last.map(|message| self.dialect.encode(message)).transpose()
    }

    /// Returns the last frame of a node that is gone; `None` when the node is there and has another key.
    fn tell_gone(
        &mut self,
        view: &View,
        changes: Option<&ChangeSet>,
    ) -> Result<Option<Bytes>, FrameError> {
        self.mark_ended();
        let Ok(key) = NodePublic::try_from(&*self.node_key) else {
            return Ok(None);
        };
        if view.nodes.contains_key(&self.node) {
            return Ok(None);
        }
        let was = changes.and_then(|changes| changes.nodes.get(&self.node));
        let was = was.and_then(Option::as_ref);
        let machine = was.and_then(|was| MachinePublic::try_from(&*was.node.machine_key).ok());
        let (relays, now) = (self.tailnet.derp_map.load(), self.clock.now());
        let message = MapResponse {
            // Who falls behind the changes that are kept may have any peers.
            peers_removed: changes
                .map_or_else(Vec::new, |changes| lost_peers(view, changes, self.node)),
            ..build_node_gone(self.node, key, machine, &relays, now)
        };
        self.dialect.encode(message).map(Some)
    }

    fn mark_ended(&mut self) -> Option<Bytes> {
        self.state = ToldState::Ended;
        None
    }

    /// Notes that the client knows what a view says.
    fn mark_caught_up(&mut self, view: &View, group_now: ViewerGroup) {
        if let ToldState::Told {
            group, generation, ..
        } = &mut self.state
        {
            *generation = view.generation;
            self.pings
                .set_wanted(view, self.node, self.dialect, &self.connection);
            if *group != group_now {
                self.mark_told(view, group_now);
            }
        }
    }

    fn mark_told(&mut self, view: &View, group: ViewerGroup) {
        self.pings
            .set_wanted(view, self.node, self.dialect, &self.connection);
        let wake = self.tailnet.history.listen_to_group(group, view.generation);
        self.state = ToldState::Told {
            group,
            generation: view.generation,
            wake,
        };
    }
}

#[cfg(test)]
mod tests;
