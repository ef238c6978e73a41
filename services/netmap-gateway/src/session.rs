//! A map session: one client's long poll.
//!
//! ```text
//! first frame: everything ─▶ wait for: a wake of its class │ its keep-alive │ a newer session │ the drain
//!                                   └─▶ compare with the newest view ─▶ at most one frame
//! ```
//!
//! Level-triggered: a wake says only "look again", and the session looks when the client takes the next frame. A
//! slow client holds no queue, only its own lateness.

use std::{sync::Arc, time::Duration};

use bowline_clock::SharedClock;
use bowline_control_wire::{FrameError, MapResponse, dialect};
use bowline_service_kit::Shutdown;
use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use crate::{
    encoding::{DeltaKey, Dialect},
    netmap::{Delta, delta, full},
    reporter::Reporter,
    tailnet::{ChangeSet, Seat, Shown, Tailnet, View, Wake},
};

/// The longest silence, before jitter: a client gives up after 120 s.
const KEEP_ALIVE: Duration = Duration::from_secs(50);

/// How often clients of the oldest forms are told anything at most.
const PACE: Duration = Duration::from_secs(2);

/// One client's long poll.
#[derive(Debug)]
pub struct Session {
    tailnet: Arc<Tailnet>,
    node: u64,
    node_key: Vec<u8>,
    dialect: Dialect,
    clock: SharedClock,
    reporter: Reporter,
    shutdown: Shutdown,
    seat: Seat,
    epoch: watch::Receiver<u64>,
    state: State,
    keep_alive_at: Instant,
    /// Nothing is told before: clients of the oldest forms read a whole message each time.
    next_at: Instant,
}

/// What the client was told.
#[derive(Debug)]
enum State {
    New,
    Told {
        class: u64,
        generation: u64,
        wake: watch::Receiver<Wake>,
    },
    Ended,
}

impl Session {
    /// Takes the node's seat; an older session of the node ends.
    #[must_use]
    pub fn begin(
        (tailnet, node): (Arc<Tailnet>, u64),
        node_key: Vec<u8>,
        dialect: Dialect,
        clock: SharedClock,
        reporter: Reporter,
        shutdown: Shutdown,
    ) -> Self {
        let seat = tailnet.sessions.take(node);
        let epoch = reporter.began(&tailnet, node, &node_key);
        metrics::gauge!("bowline_gateway_map_sessions").increment(1);
        tracing::info!(tailnet = %tailnet.id, node, version = dialect.version.0, "map session begins");
        let keep_alive_at = Instant::now();
        let next_at = keep_alive_at;
        let state = State::New;
        Self {
            tailnet,
            node,
            node_key,
            dialect,
            clock,
            reporter,
            shutdown,
            seat,
            epoch,
            state,
            keep_alive_at,
            next_at,
        }
    }

    /// Returns the next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// When a frame can not be made: the stream breaks, and the client comes back.
    pub async fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let frame = match &mut self.state {
                State::New => self.tell_everything()?,
                State::Ended => return Ok(None),
                State::Told { wake, .. } => {
                    tokio::select! {
                        biased;
                        () = self.seat.lost() => return Ok(None),
                        () = drained(&self.shutdown, self.node) => return Ok(None),
                        changed = woken(wake, self.next_at) => match changed {
                            Ok(()) => self.look()?,
                            Err(_) => return Ok(None),
                        },
                        () = tokio::time::sleep_until(self.keep_alive_at) => {
                            let message = MapResponse { keep_alive: true, ..MapResponse::default() };
                            Some(self.dialect.encode(message)?)
                        }
                    }
                }
            };
            if let Some(frame) = frame {
                self.keep_alive_at = Instant::now() + KEEP_ALIVE + jitter(self.node);
                if dialect::is_paced(self.dialect.version) {
                    self.next_at = Instant::now() + PACE;
                }
                return Ok(Some(frame));
            }
        }
    }

    /// Returns the first frame, or one that says everything again.
    fn tell_everything(&mut self) -> Result<Option<Bytes>, FrameError> {
        let view = self.tailnet.history.view().told(self.dialect.version);
        let shown = view.nodes.get(&self.node);
        let Some(shown) = shown.filter(|shown| shown.node.node_key == self.node_key) else {
            self.state = State::Ended;
            return Ok(None);
        };
        let (derp_map, now) = (&self.tailnet.derp_map.load_full(), self.clock.now());
        let shared =
            self.tailnet
                .blocks
                .first_frame(&view, self.node, derp_map, (self.dialect, now));
        let frame = match shared? {
            Some(frame) => Some(frame),
            None => {
                let message = full(&view, self.node, derp_map, now);
                message
                    .map(|message| self.dialect.encode(message))
                    .transpose()?
            }
        };
        if frame.is_none() {
            self.state = State::Ended;
        } else {
            self.told(&view, shown.class);
        }
        Ok(frame)
    }

    /// Compares what the client was told with what is true, and returns the difference.
    fn look(&mut self) -> Result<Option<Bytes>, FrameError> {
        let State::Told {
            class,
            generation,
            wake,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let class_before = *class;
        let since = wake.borrow_and_update().since(*generation);
        let (view, changes) = self.tailnet.history.since(since);
        let view = view.told(self.dialect.version);
        let Some(shown) = view.nodes.get(&self.node) else {
            self.state = State::Ended;
            return Ok(None);
        };
        if shown.node.node_key != self.node_key || self.is_superseded(shown.soft.presence.as_ref())
        {
            self.state = State::Ended;
            return Ok(None);
        }
        let Some(changes) = changes else {
            return self.tell_everything();
        };
        let class_now = shown.class;
        // A node that may not take part is told otherwise than its class.
        let frame =
            if shown.offered && class_before == class_now && self.shares(&view, shown, &changes) {
                let key = DeltaKey::new(class_now, since, view.generation, self.dialect);
                match self.tailnet.deltas.get(&key) {
                    Some(frame) => frame,
                    None => {
                        let frame = self.difference(&view, &changes)?;
                        if matches!(self.state, State::Told { .. }) {
                            self.tailnet.deltas.put(key, frame.clone());
                        }
                        frame
                    }
                }
            } else {
                self.difference(&view, &changes)?
            };
        if let State::Told {
            class, generation, ..
        } = &mut self.state
        {
            *generation = view.generation;
            if *class != class_now {
                self.told(&view, class_now);
            }
        }
        Ok(frame)
    }

    /// Says whether every session of the class is sent the same for these changes: not what concerns its own node,
    /// its user's devices, or what it sees otherwise than its class.
    fn shares(&self, view: &View, own: &Shown, changes: &ChangeSet) -> bool {
        let user = own.user();
        let is_close = |(id, before): (&u64, &Option<Shown>)| {
            let mut sides = before.iter().chain(view.nodes.get(id));
            *id == self.node || (user.is_some() && sides.any(|shown| shown.user() == user))
        };
        let settings = view.compiled.settings.get(&own.settings);
        changes.is_of_nodes_only()
            && own.usable_routes().next().is_none()
            && settings.is_none_or(|set| !set.hide_ipv4)
            && !changes.nodes.iter().any(is_close)
            && dialect::takes_patches(self.dialect.version)
    }

    fn difference(
        &mut self,
        view: &View,
        changes: &ChangeSet,
    ) -> Result<Option<Bytes>, FrameError> {
        let now = self.clock.now();
        match delta(view, changes, self.node, now) {
            Delta::Nothing => Ok(None),
            Delta::Message(message) => {
                let version = self.dialect.version;
                if dialect::needs_full_messages(version)
                    || (!dialect::takes_filter_chunks(version)
                        && !message.packet_filters.is_empty())
                    || (!dialect::takes_patches(version) && !message.peers_changed_patch.is_empty())
                {
                    return self.tell_everything();
                }
                self.dialect.encode(*message).map(Some)
            }
            Delta::Full => self.tell_everything(),
            Delta::Ended => {
                let last = full(view, self.node, &self.tailnet.derp_map.load(), now);
                self.state = State::Ended;
                last.map(|message| self.dialect.encode(message)).transpose()
            }
        }
    }

    fn told(&mut self, view: &View, class: u64) {
        let wake = self.tailnet.history.listen(class, view.generation);
        self.state = State::Told {
            class,
            generation: view.generation,
            wake,
        };
    }

    /// Says whether a newer session of the node lives on another gateway.
    fn is_superseded(&self, presence: Option<&bowline_proto::key_registry::v1::Presence>) -> bool {
        let own = *self.epoch.borrow();
        own != 0 && presence.is_some_and(|presence| presence.epoch > own && self.seat.is_held())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        metrics::gauge!("bowline_gateway_map_sessions").decrement(1);
        tracing::info!(tailnet = %self.tailnet.id, node = self.node, "map session ends");
        // A newer session of this gateway speaks for the node now.
        if self.seat.is_held() {
            let epoch = *self.epoch.borrow();
            let draining = self.shutdown.is_draining();
            self.reporter
                .ended(&self.tailnet, self.node, &self.node_key, epoch, draining);
        }
    }
}

/// Waits until there may be something to tell, but not before a moment.
async fn woken(
    wake: &mut watch::Receiver<Wake>,
    not_before: Instant,
) -> Result<(), watch::error::RecvError> {
    if not_before > Instant::now() {
        tokio::time::sleep_until(not_before).await;
    }
    wake.changed().await
}

/// Waits for a node's turn in the drain: sessions end spread over most of the drain time.
async fn drained(shutdown: &Shutdown, node: u64) {
    shutdown.draining().await;
    let spread = shutdown.drain_time().mul_f64(0.7);
    tokio::time::sleep(spread.mul_f64(fraction(node))).await;
}

fn jitter(node: u64) -> Duration {
    Duration::from_secs(9).mul_f64(fraction(node))
}

/// Returns a number between 0 and 1 that is different for neighbours.
#[expect(clippy::cast_precision_loss, reason = "a spread needs no precision")]
fn fraction(node: u64) -> f64 {
    (node.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64
}
