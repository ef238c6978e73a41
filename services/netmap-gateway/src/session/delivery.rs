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
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::listener::Connection;

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
    /// Those of which a piece is under way, with when it was handed over.
    under_way: BTreeMap<u64, (Instant, Arc<HeldDelivery>)>,
}

/// A response, with what its client has not read yet.
#[derive(Debug)]
struct HeldDelivery {
    number: u64,
    connection: Connection,
    rest: Mutex<UnreadFrame>,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct UnreadFrame {
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
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
            rest: Mutex::default(),
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
        let stands = |(since, _): &&(Instant, Arc<HeldDelivery>)| now - *since >= STANDSTILL;
        let still: Vec<_> = all.under_way.values().filter(stands).cloned().collect();
        drop(all);
        for (_, held) in still {
            metrics::counter!("bowline_gateway_unread_responses_total").increment(1);
            held.end();
            held.connection.close_soon();
        }
    }

    fn note_under_way(&self, held: &Arc<HeldDelivery>) {
        let under_way = (Instant::now(), Arc::clone(held));
        self.lock_table().under_way.insert(held.number, under_way);
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
        self.ended.cancel();
        drop(std::mem::take(&mut *self.lock_unread()));
    }

    fn hold_frame(&self, bytes: Bytes, room: Option<OwnedSemaphorePermit>) {
        let mut rest = self.lock_unread();
        // A response that has ended keeps nothing.
        if !self.ended.is_cancelled() {
            *rest = UnreadFrame { bytes, room };
        }
    }

    /// Takes the next piece of what is held, and gives its memory back.
    fn take_piece(&self) -> Option<Bytes> {
        let mut rest = self.lock_unread();
        if rest.bytes.is_empty() {
            rest.room = None;
            return None;
        }
        let length = rest.bytes.len().min(PIECE);
        let piece = rest.bytes.split_to(length);
        let left = to_kibibytes(rest.bytes.len()) as usize;
        if let Some(room) = &mut rest.room {
            drop(room.split(room.num_permits().saturating_sub(left)));
        }
        Some(piece)
    }

    fn lock_unread(&self) -> MutexGuard<'_, UnreadFrame> {
        self.rest.lock()
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
                self.held.hold_frame(frame, Some(room));
                // Counted from now on: a client may read nothing at all.
                self.deliveries.note_under_way(&self.held);
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
        let state = (self, frames.boxed());
        stream::try_unfold(state, |(delivery, mut frames)| async move {
            let piece = delivery.next_piece(&mut frames).await?;
            Ok(piece.map(|piece| (piece, (delivery, frames))))
        })
        .boxed()
    }

    async fn next_piece(
        &self,
        frames: &mut BoxStream<'static, Result<Bytes, FrameError>>,
    ) -> Result<Option<Bytes>, FrameError> {
        let held = &self.held;
        self.deliveries.lock_table().under_way.remove(&held.number);
        loop {
            if held.ended.is_cancelled() {
                return Ok(None);
            }
            if let Some(piece) = held.take_piece() {
                self.deliveries.note_under_way(held);
                return Ok(Some(piece));
            }
            let frame = tokio::select! {
                () = held.ended.cancelled() => return Ok(None),
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
            held.hold_frame(frame, room);
        }
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
        all.under_way.remove(&self.held.number);
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
