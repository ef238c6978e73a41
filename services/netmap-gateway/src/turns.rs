//! Bounds how many expensive requests are worked on at once; others wait for their turn.
//!
//! Known nodes go first, one request of each in turn; then strangers, one of each network in turn. So a client that
//! asks for much delays mostly itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use bowline_ids::NodeId;
use bowline_service_kit::{
    networks::Network,
    rate_limit::{RateLimit, TokenBuckets},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::{machine::RequestFailure, session::busy_processors};

/// How many registrations are sent to the registry at once: it commits those that arrive together in one transaction.
const REGISTRATIONS: usize = 256;
/// How many full maps are asked for at once, for each processor that makes them: it never waits for the next.
const FULL_MAPS_AT_ONCE: usize = 64;
/// How often one node may ask for a full map: more often than a client does that keeps changing networks.
///
/// Each gateway counts for itself, because it protects only its own processors.
const FULL_MAPS: RateLimit = RateLimit::new(10, Duration::from_secs(1));
/// How often one node may ask to change attributes of itself. The registry counts what is changed, of all gateways together.
const ATTRIBUTE_CHANGES: RateLimit = RateLimit::new(5, Duration::from_secs(10));
/// How often one machine may ask something of tailnet lock. Each gateway counts for itself.
const LOCK_CALLS: RateLimit = RateLimit::new(30, Duration::from_secs(1));
/// How often one machine may send a signature: who removes a trusted key signs all nodes again that rest on it, one by one.
const SIGNATURES: RateLimit = RateLimit::new(3000, Duration::from_millis(100));
/// How many nodes have a bucket at a time.
const MOST_NODES: usize = 100_000;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a known node waits for the turn to make its first map. Clients wait two minutes for the first byte; one that is told
/// to come back has to be greeted a second time, which costs as much as the map.
const FIRST_MAP_PATIENCE: Duration = Duration::from_secs(60);

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOrigin {
    /// The node of this number, which is known.
    Known(NodeId),
    /// Somebody of this network.
    Stranger(Network),
}

/// A bounded number of turns.
#[derive(Debug)]
pub struct FairSemaphore(Mutex<TurnQueues>);

#[derive(Debug)]
struct TurnQueues {
    free: usize,
    known: Rotation<NodeId>,
    strangers: Rotation<Network>,
}

/// Those who wait, one of each `K` in turn.
#[derive(Debug)]
struct Rotation<K> {
    waiting: BTreeMap<K, VecDeque<oneshot::Sender<Turn>>>,
    /// Those who have requests in `waiting`, the next in turn first.
    order: VecDeque<K>,
}

/// The turn to work on a request; when it is dropped, the next request has its turn.
#[derive(Debug)]
pub struct Turn(Arc<FairSemaphore>);

impl FairSemaphore {
    /// Returns a semaphore with this many turns.
    pub fn new(free: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(TurnQueues {
            free,
            known: Rotation::default(),
            strangers: Rotation::default(),
        })))
    }

    /// Waits for a turn, but not longer than this.
    pub async fn acquire(
        self: &Arc<Self>,
        origin: RequestOrigin,
        patience: Duration,
    ) -> Option<Turn> {
        // A permit that arrives too late is dropped with its channel, and the next request has the turn.
        let turn = tokio::time::timeout(patience, self.wait_for_turn(origin)).await;
        turn.ok()?
    }

    /// Waits for a turn, however long.
    pub async fn wait_for_turn(self: &Arc<Self>, origin: RequestOrigin) -> Option<Turn> {
        let waiting = {
            let mut state = self.lock_queues();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            match origin {
                RequestOrigin::Known(node) => state.known.push_waiter(node, sender),
                RequestOrigin::Stranger(network) => state.strangers.push_waiter(network, sender),
            }
            receiver
        };
        waiting.await.ok()
    }

    fn lock_queues(&self) -> MutexGuard<'_, TurnQueues> {
        self.0.lock()
    }
}

impl TurnQueues {
    /// Returns the next request whose client still waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(sender) = self.known.next().or_else(|| self.strangers.next()) {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }
}

impl<K: Ord + Copy> Rotation<K> {
    fn push_waiter(&mut self, of: K, sender: oneshot::Sender<Turn>) {
        let waiting = self.waiting.entry(of).or_default();
        if waiting.is_empty() {
            self.order.push_back(of);
        }
        // Requests whose clients have left are removed: a node that asks and leaves again and again must not fill the
        // queue.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push_back(sender);
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let of = self.order.pop_front()?;
        let waiting = self.waiting.get_mut(&of)?;
        let sender = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&of);
        } else {
            self.order.push_back(of);
        }
        sender
    }
}

impl<K> Default for Rotation<K> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.lock_queues();
            let next = state.next();
            if next.is_none() {
                state.free += 1;
            }
            next
        };
        if let Some(next) = next {
            // If that client has left meanwhile, the permit is dropped, and the one after it has its turn.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

/// The turns of this gateway.
#[derive(Debug)]
pub struct Turns {
    registrations: Arc<FairSemaphore>,
    full_maps: Arc<FairSemaphore>,
    pace: Mutex<TokenBuckets<NodeId>>,
    attribute_changes: Mutex<TokenBuckets<NodeId>>,
    lock_calls: Mutex<TokenBuckets<MachineKey>>,
    signatures: Mutex<TokenBuckets<MachineKey>>,
}

/// The bytes of a machine key.
type MachineKey = [u8; 32];

impl Turns {
    /// Returns turns for this many registrations and full maps at once.
    fn new(registrations: usize, full_maps: usize) -> Self {
        Self {
            registrations: FairSemaphore::new(registrations),
            full_maps: FairSemaphore::new(full_maps),
            pace: Mutex::new(TokenBuckets::new(FULL_MAPS, MOST_NODES)),
            attribute_changes: Mutex::new(TokenBuckets::new(ATTRIBUTE_CHANGES, MOST_NODES)),
            lock_calls: Mutex::new(TokenBuckets::new(LOCK_CALLS, MOST_NODES)),
            signatures: Mutex::new(TokenBuckets::new(SIGNATURES, MOST_NODES)),
        }
    }

    /// Takes a node's right to one full map.
    ///
    /// # Errors
    ///
    /// 429 with a time to try again when it has asked too often.
    pub fn take_full_map(&self, node: NodeId, now: Instant) -> Result<(), RequestFailure> {
        let mut pace = self.pace.lock();
        pace.take_token(node, now).map_err(|wait| {
            metrics::counter!("bowline_gateway_full_maps_refused_total").increment(1);
            let text =
                "this device asks for the whole network too often: try again in a few seconds";
            RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait)
        })
    }

    /// Takes a node's right to ask for one change of its attributes.
    ///
    /// # Errors
    ///
    /// 429 with a time to try again when it has asked too often.
    pub fn take_attribute_change(&self, node: NodeId, now: Instant) -> Result<(), RequestFailure> {
        let mut pace = self.attribute_changes.lock();
        pace.take_token(node, now).map_err(|wait| {
            let text = "this device changes its attributes too often: try again in a few seconds";
            RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait)
        })
    }

    /// Takes a machine's right to one request of tailnet lock, a signature or another one.
    ///
    /// # Errors
    ///
    /// 429 with a time to try again when it has asked too often.
    pub fn take_lock_call(
        &self,
        machine: MachineKey,
        is_signature: bool,
        now: Instant,
    ) -> Result<(), RequestFailure> {
        let pace = match is_signature {
            true => &self.signatures,
            false => &self.lock_calls,
        };
        pace.lock().take_token(machine, now).map_err(|wait| {
            let text = "this device asks about tailnet lock too often: try again in a few seconds";
            RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait)
        })
    }

    /// Waits for the turn to ask the registry for a registration.
    ///
    /// # Errors
    ///
    /// 429 when too many wait.
    pub async fn admit_registration(&self, origin: RequestOrigin) -> Result<Turn, RequestFailure> {
        let turn = self.registrations.acquire(origin, PATIENCE).await;
        turn.ok_or_else(|| {
            let text = "too many devices are logging in at the moment: try again in a few seconds";
            RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text)
        })
    }

    /// Waits for the turn to make the first message of a response. It gives up when a newer request of the same node
    /// has replaced this one, so that the requests of one node never fill the queue.
    ///
    /// # Errors
    ///
    /// 503 when too many wait, and when the response was replaced.
    pub async fn admit_first_map(
        &self,
        node: NodeId,
        replaced: impl Future<Output = ()>,
    ) -> Result<Turn, RequestFailure> {
        let turn = tokio::select! {
            biased;
            () = replaced => {
                let text = "a newer request of this device has taken the place of this one";
                return Err(RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text));
            }
            turn = self.full_maps.acquire(RequestOrigin::Known(node), FIRST_MAP_PATIENCE) => turn,
        };
        turn.ok_or_else(|| {
            let text = "too many devices are connecting at the moment: try again in a few seconds";
            RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }

    /// Waits for the turn to send a full map again in an open stream; `None` when the gateway ends.
    pub async fn admit_full_map(&self, node: NodeId) -> Option<Turn> {
        self.full_maps
            .wait_for_turn(RequestOrigin::Known(node))
            .await
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(REGISTRATIONS, FULL_MAPS_AT_ONCE * busy_processors())
    }
}

#[cfg(test)]
mod tests;
