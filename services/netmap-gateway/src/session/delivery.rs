//! Bounds what waits for clients that do not read.
//!
//! A frame is handed to the transport in pieces, each when the one before has left. What waits for a client that does
//! not read is bounded: in all by bytes, for each node by the number of its responses, and in time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bowline_control_wire::FrameError;
use bowline_ids::NodeId;
use bowline_service_kit::Tasks;
use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::BoxFuture,
    stream::{self, BoxStream, Stream, StreamExt as _},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{listener::Connection, woken::PolledWhenWoken};

/// The memory that all frames may use which clients have not read yet, in KiB.
const ROOM: u32 = 512 << 10;
/// How long a first frame waits for room.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
/// How much of a frame is handed over at once.
const PIECE: usize = 32 << 10;
/// How many responses of a kind one node may have at a time: its newest, and one that is about to end.
const MOST_OF_NODE: usize = 2;
/// How long a client may read nothing before its response ends, and how often that is checked.
const STANDSTILL: Duration = Duration::from_secs(30);
const STANDSTILL_CHECK: Duration = Duration::from_secs(5);

/// The kind of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryKind {
    /// Frames until the client leaves.
    Stream,
    /// One frame.
    Once,
}

/// The responses of a gateway that are being sent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deliveries {
    room: Arc<Semaphore>,
    all: Arc<Mutex<DeliveryTable>>,
}

#[derive(Debug, Default)]
struct DeliveryTable {
    newest: u64,
    /// The responses of each node, the oldest first.
    of_nodes: BTreeMap<(NodeId, DeliveryKind), VecDeque<Arc<HeldDelivery>>>,
}

/// A response, with what its client has not read yet.
#[derive(Debug)]
struct HeldDelivery {
    number: u64,
    connection: Connection,
    unread: Mutex<UnreadFrame>,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct UnreadFrame {
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
    /// Since when a piece is under way.
    under_way_since: Option<Instant>,
    /// Whether the response has ended: it keeps nothing then.
    has_ended: bool,
}

/// One response; when it is dropped, its node may have another.
#[derive(Debug)]
pub struct Delivery {
    deliveries: Deliveries,
    of: (NodeId, DeliveryKind),
    held: Arc<HeldDelivery>,
}

impl Deliveries {
    /// Starts to end responses that their clients do not read.
    pub fn start(tasks: &Tasks) -> Self {
        let deliveries = Self::new(ROOM);
        let looked_at = deliveries.clone();
        tasks.spawn_background("end-unread-responses", async move {
            loop {
                tokio::time::sleep(STANDSTILL_CHECK).await;
                looked_at.end_stalled_responses(Instant::now());
            }
        });
        deliveries
    }

    fn new(room: u32) -> Self {
        Self {
            room: Arc::new(Semaphore::new(room as usize)),
            all: Arc::default(),
        }
    }

    /// Begins a response of a node; its oldest of the kind ends when there are too many.
    pub fn begin(&self, node: NodeId, kind: DeliveryKind, connection: Connection) -> Delivery {
        let mut all = self.lock_table();
        all.newest += 1;
        let held = Arc::new(HeldDelivery {
            number: all.newest,
            connection,
            unread: Mutex::default(),
            ended: CancellationToken::new(),
        });
        let of = (node, kind);
        let responses = all.of_nodes.entry(of).or_default();
        responses.push_back(Arc::clone(&held));
        let oldest = (responses.len() > MOST_OF_NODE).then(|| responses.pop_front());
        drop(all);
        if let Some(oldest) = oldest.flatten() {
            oldest.end();
        }
        Delivery {
            deliveries: self.clone(),
            of,
            held,
        }
    }

    /// Ends the responses of which a piece has been under way for too long, and closes their connections.
    fn end_stalled_responses(&self, now: Instant) {
        let all = self.lock_table();
        let held = all.of_nodes.values().flatten();
        let stalled: Vec<_> = held.filter(|held| held.is_stalled(now)).cloned().collect();
        drop(all);
        for held in stalled {
            metrics::counter!("bowline_gateway_unread_responses_total").increment(1);
            held.end();
            held.connection.close_soon();
        }
    }

    fn lock_table(&self) -> MutexGuard<'_, DeliveryTable> {
        self.all.lock()
    }

    /// Takes memory for a frame, if enough is free.
    fn try_reserve_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room)
            .try_acquire_many_owned(to_kibibytes(bytes))
            .ok()
    }
}

/// Returns how much memory a frame takes, in KiB; the largest takes all there is.
fn to_kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(ROOM)
        .min(ROOM)
}

impl HeldDelivery {
    /// Ends the response; what was not read is dropped.
    fn end(&self) {
        *self.unread.lock() = UnreadFrame {
            has_ended: true,
            ..UnreadFrame::default()
        };
        self.ended.cancel();
    }

    /// Says whether a piece has been under way for too long.
    fn is_stalled(&self, now: Instant) -> bool {
        let since = self.unread.lock().under_way_since;
        since.is_some_and(|since| now - since >= STANDSTILL)
    }
}

impl UnreadFrame {
    /// Holds a frame, unless the response has ended.
    fn hold(&mut self, bytes: Bytes, room: Option<OwnedSemaphorePermit>) {
        if !self.has_ended {
            (self.bytes, self.room) = (bytes, room);
        }
    }

    /// Takes the next piece of what is held, and gives its memory back. It is under way from now on.
    fn take_piece(&mut self) -> Option<Bytes> {
        if self.bytes.is_empty() {
            self.room = None;
            return None;
        }
        let length = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(length);
        let left = to_kibibytes(self.bytes.len()) as usize;
        if let Some(room) = &mut self.room {
            drop(room.split(room.num_permits().saturating_sub(left)));
        }
        self.under_way_since = Some(Instant::now());
        Some(piece)
    }
}

impl Delivery {
    /// Waits until a newer response of the node takes its place.
    pub async fn wait_until_ended(&self) {
        self.held.ended.cancelled().await;
    }

    /// Waits for memory for the first frame and holds it; `false` when none becomes free in time.
    pub async fn hold_first(&self, frame: Bytes) -> bool {
        let room = Arc::clone(&self.deliveries.room).acquire_many_owned(to_kibibytes(frame.len()));
        match tokio::time::timeout(ROOM_PATIENCE, room).await {
            Ok(Ok(room)) => {
                let mut unread = self.held.unread.lock();
                unread.hold(frame, Some(room));
                // Counted from now on: a client may read nothing at all.
                unread.under_way_since = Some(Instant::now());
                true
            }
            _ => false,
        }
    }

    /// Returns the pieces of the frame that is held, if any, and of those that follow.
    ///
    /// It ends when a newer response takes its place, when its client reads nothing for too long, and when there is no
    /// memory for a later frame: the client then connects again, and waits for its turn to get a full map.
    pub fn pieces(
        self,
        frames: impl Stream<Item = Result<Bytes, FrameError>> + Send + 'static,
    ) -> BoxStream<'static, Result<Bytes, FrameError>> {
        let ended = PolledWhenWoken::new(self.held.ended.clone().cancelled_owned().boxed());
        let state = (self, frames.boxed(), ended);
        stream::try_unfold(state, |(delivery, mut frames, mut ended)| async move {
            let piece = delivery.next_piece(&mut frames, &mut ended).await?;
            Ok(piece.map(|piece| (piece, (delivery, frames, ended))))
        })
        .boxed()
    }

    async fn next_piece(
        &self,
        frames: &mut BoxStream<'static, Result<Bytes, FrameError>>,
        ended: &mut PolledWhenWoken<BoxFuture<'static, ()>>,
    ) -> Result<Option<Bytes>, FrameError> {
        {
            let mut unread = self.held.unread.lock();
            unread.under_way_since = None;
            if unread.has_ended {
                return Ok(None);
            }
            if let Some(piece) = unread.take_piece() {
                return Ok(Some(piece));
            }
        }
        let frame = tokio::select! {
            biased;
            () = ended => return Ok(None),
            frame = frames.next() => match frame {
                Some(frame) => frame?,
                None => return Ok(None),
            },
        };
        let room = if frame.len() > PIECE {
            match self.deliveries.try_reserve_room(frame.len()) {
                Some(room) => Some(room),
                None => return Ok(None),
            }
        } else {
            None
        };
        let mut unread = self.held.unread.lock();
        unread.hold(frame, room);
        Ok(unread.take_piece())
    }
}

/// The frames of a response.
pub struct Frames {
    delivery: Delivery,
    later: BoxStream<'static, Result<Bytes, FrameError>>,
}

impl Frames {
    /// Returns the frame that a response holds, and what comes later.
    pub fn new(
        delivery: Delivery,
        later: impl Stream<Item = Result<Bytes, FrameError>> + Send + 'static,
    ) -> Self {
        let later = later.boxed();
        Self { delivery, later }
    }

    /// Returns what is handed to the transport, piece by piece.
    pub fn pieces(self) -> BoxStream<'static, Result<Bytes, FrameError>> {
        self.delivery.pieces(self.later)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut all = self.deliveries.lock_table();
        if let Some(responses) = all.of_nodes.get_mut(&self.of) {
            responses.retain(|held| held.number != self.held.number);
            if responses.is_empty() {
                all.of_nodes.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests;
