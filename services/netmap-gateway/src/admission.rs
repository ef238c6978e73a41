//! How many of the requests that cost most are worked on at once, so that a storm of clients queues.
//!
//! Nodes that are known go first, one request of each in turn; then strangers, one of each network in turn. So who asks
//! for much waits for itself.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use bowline_service_kit::{
    networks::Network,
    rate_limit::{RateLimit, TokenBuckets},
};
use tokio::sync::oneshot;

use crate::machine::RequestFailure;

/// How many registrations are with the registry at once: it commits those that wait together.
const REGISTRATIONS: usize = 256;
/// How often one node may ask for everything: so often a client does that changes its network again and again.
///
/// Each gateway counts for itself: what is spared are its own processors.
const FULL_MAPS: RateLimit = RateLimit::new(10, Duration::from_secs(1));
/// How many nodes have a bucket at a time.
const MOST_NODES: usize = 100_000;
/// How long another request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who waits for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOrigin {
    /// The node of this number, which is known.
    Known(u64),
    /// Somebody of this network.
    Stranger(Network),
}

/// A bounded number of turns.
#[derive(Debug)]
pub struct FairSemaphore(Mutex<TurnQueues>);

#[derive(Debug)]
struct TurnQueues {
    free: usize,
    known: Rotation<u64>,
    strangers: Rotation<Network>,
}

/// Those who wait, one of each `K` in turn.
#[derive(Debug)]
struct Rotation<K> {
    waiting: BTreeMap<K, VecDeque<oneshot::Sender<AdmissionPermit>>>,
    /// Who has some that wait, the next first.
    order: VecDeque<K>,
}

/// A turn, free for the next when dropped.
#[derive(Debug)]
pub struct AdmissionPermit(Arc<FairSemaphore>);

impl FairSemaphore {
    /// Returns so many turns.
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
        asker: RequestOrigin,
        patience: Duration,
    ) -> Option<AdmissionPermit> {
        // A turn that arrives too late is dropped with the message, and goes to the next.
        let turn = tokio::time::timeout(patience, self.enqueue(asker)).await;
        turn.ok()?
    }

    /// Waits for a turn.
    async fn enqueue(self: &Arc<Self>, asker: RequestOrigin) -> Option<AdmissionPermit> {
        let waiting = {
            let mut state = self.lock_queues();
            if state.free > 0 {
                state.free -= 1;
                return Some(AdmissionPermit(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            match asker {
                RequestOrigin::Known(node) => state.known.push_waiter(node, sender),
                RequestOrigin::Stranger(network) => state.strangers.push_waiter(network, sender),
            }
            receiver
        };
        waiting.await.ok()
    }

    fn lock_queues(&self) -> MutexGuard<'_, TurnQueues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnQueues {
    /// Returns who is next of those who still wait.
    fn next(&mut self) -> Option<oneshot::Sender<AdmissionPermit>> {
        while let Some(sender) = self.known.next().or_else(|| self.strangers.next()) {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }
}

impl<K: Ord + Copy> Rotation<K> {
    fn push_waiter(&mut self, of: K, sender: oneshot::Sender<AdmissionPermit>) {
        let waiting = self.waiting.entry(of).or_default();
        if waiting.is_empty() {
            self.order.push_back(of);
        }
        // Who has gone is forgotten: else a node that asks and leaves at once would leave a crowd behind.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push_back(sender);
    }

    fn next(&mut self) -> Option<oneshot::Sender<AdmissionPermit>> {
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

impl Drop for AdmissionPermit {
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
            // Whoever has gone in the meantime drops it, and it goes on.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

/// The turns of this gateway.
#[derive(Debug)]
pub struct Admission {
    registrations: Arc<FairSemaphore>,
    full_maps: Arc<FairSemaphore>,
    pace: Mutex<TokenBuckets<u64>>,
}

impl Admission {
    /// Returns turns for a number of registrations and of messages that say everything at once.
    fn new(registrations: usize, full_maps: usize) -> Self {
        Self {
            registrations: FairSemaphore::new(registrations),
            full_maps: FairSemaphore::new(full_maps),
            pace: Mutex::new(TokenBuckets::new(FULL_MAPS, MOST_NODES)),
        }
    }

    /// Takes the right of a node to be told everything once.
    ///
    /// # Errors
    ///
    /// 429 with a time to try again when it has asked too often.
    pub fn take_full_map(&self, node: u64, now: Instant) -> Result<(), RequestFailure> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.take(node, now).map_err(|wait| {
            metrics::counter!("bowline_gateway_full_maps_refused_total").increment(1);
            let text =
                "this device asks for the whole network too often: try again in a few seconds";
            RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait)
        })
    }

    /// Waits for the turn to ask the registry for a registration.
    ///
    /// # Errors
    ///
    /// 429 when too many wait.
    pub async fn admit_registration(
        &self,
        asker: RequestOrigin,
    ) -> Result<AdmissionPermit, RequestFailure> {
        let turn = self.registrations.acquire(asker, PATIENCE).await;
        turn.ok_or_else(|| {
            let text = "too many devices are logging in at the moment: try again in a few seconds";
            RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text)
        })
    }

    /// Waits for the turn to make the first message of a response, unless a newer one of the same node has taken its
    /// place: what nobody has a use for costs no turn, so the requests of one node never fill the queue.
    ///
    /// # Errors
    ///
    /// 503 when too many wait, and when the response was replaced.
    pub async fn first_map(
        &self,
        node: u64,
        replaced: impl Future<Output = ()>,
    ) -> Result<AdmissionPermit, RequestFailure> {
        let turn = tokio::select! {
            biased;
            () = replaced => {
                let text = "a newer request of this device has taken the place of this one";
                return Err(RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text));
            }
            turn = self.full_maps.acquire(RequestOrigin::Known(node), PATIENCE) => turn,
        };
        turn.ok_or_else(|| {
            let text = "too many devices are connecting at the moment: try again in a few seconds";
            RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }

    /// Waits for the turn to tell everything again in a stream that is open; `None` when there are no turns any more.
    pub async fn full_map_again(&self, node: u64) -> Option<AdmissionPermit> {
        self.full_maps.enqueue(RequestOrigin::Known(node)).await
    }
}

impl Default for Admission {
    /// Returns a turn for messages that say everything, which keep a processor busy, for each processor but one: that one
    /// answers everybody else meanwhile.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self::new(REGISTRATIONS, processors.saturating_sub(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn of(address: &str) -> RequestOrigin {
        RequestOrigin::Stranger(Network::narrowest(address.parse().expect("an address")))
    }

    #[tokio::test(start_paused = true)]
    async fn those_beyond_the_bound_wait_for_their_turn_and_are_then_told_to_come_back() {
        let admission = Admission::new(1, 1);
        let registration = admission
            .admit_registration(RequestOrigin::Known(1))
            .await
            .expect("free");
        let map = admission.first_map(1, pending()).await.expect("free");
        let refused = admission.admit_registration(of("192.0.2.1")).await;
        assert_eq!(refused.expect_err("none is free").status(), 429);
        let refused = admission.first_map(1, pending()).await;
        assert_eq!(refused.expect_err("none is free").status(), 503);
        let waiting = tokio::join!(
            admission.admit_registration(of("192.0.2.1")),
            admission.first_map(1, pending()),
            async {
                tokio::time::sleep(PATIENCE / 2).await;
                drop((registration, map));
            }
        );
        assert!(waiting.0.is_ok() && waiting.1.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn response_that_was_replaced_takes_no_turn() {
        let admission = Admission::new(1, 1);
        let replaced = admission.first_map(1, ready(())).await;
        assert_eq!(replaced.expect_err("it was replaced").status(), 503);
        let map = admission.first_map(1, pending()).await.expect("free");
        let waiting = tokio::time::Instant::now();
        let replaced = admission
            .first_map(1, tokio::time::sleep(PATIENCE / 2))
            .await;
        assert_eq!(replaced.expect_err("it was replaced").status(), 503);
        assert_eq!(waiting.elapsed(), PATIENCE / 2, "at once, not at the end");
        drop(map);
        assert!(
            admission.first_map(1, pending()).await.is_ok(),
            "it is free"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn known_nodes_go_first_and_nodes_and_networks_take_turns() {
        let turns = FairSemaphore::new(1);
        let first = turns
            .acquire(RequestOrigin::Known(9), PATIENCE)
            .await
            .expect("free");
        let order = Mutex::new(Vec::new());
        let ask = |name: &'static str, asker| {
            let (turns, order) = (&turns, &order);
            async move {
                let turn = turns.acquire(asker, PATIENCE).await.expect("in time");
                order.lock().expect("whole").push(name);
                drop(turn);
            }
        };
        let asking = async {
            tokio::join!(
                ask("a1", of("192.0.2.1")),
                ask("a2", of("192.0.2.1")),
                ask("a3", of("192.0.2.1")),
                ask("b1", of("192.0.2.2")),
                ask("n1", RequestOrigin::Known(1)),
                ask("n2", RequestOrigin::Known(1)),
                ask("n3", RequestOrigin::Known(1)),
                ask("m1", RequestOrigin::Known(2)),
                async { drop(first) },
            )
        };
        asking.await;
        let order = order.into_inner().expect("whole");
        assert_eq!(order, ["n1", "m1", "n2", "n3", "a1", "b1", "a2", "a3"]);
        let state = turns.lock_queues();
        assert_eq!(state.free, 1);
        assert!(state.known.waiting.is_empty() && state.known.order.is_empty());
        assert!(state.strangers.waiting.is_empty() && state.strangers.order.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn turn_of_those_who_have_gone_goes_on() {
        let turns = FairSemaphore::new(1);
        let held = turns
            .acquire(RequestOrigin::Known(9), PATIENCE)
            .await
            .expect("free");
        for _ in 0..1000 {
            let late = turns.acquire(of("192.0.2.1"), Duration::ZERO).await;
            assert!(late.is_none());
        }
        drop(held);
        assert!(
            turns
                .acquire(of("192.0.2.1"), Duration::ZERO)
                .await
                .is_some()
        );
        assert_eq!(turns.lock_queues().free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_and_leave_at_once_leave_nothing_behind() {
        let turns = FairSemaphore::new(1);
        let _held = turns
            .acquire(RequestOrigin::Known(9), PATIENCE)
            .await
            .expect("free");
        for _ in 0..1000 {
            turns.acquire(RequestOrigin::Known(1), Duration::ZERO).await;
        }
        let state = turns.lock_queues();
        let left: usize = state.known.waiting.values().map(VecDeque::len).sum();
        assert!(left <= 1 && state.known.order.len() <= 1, "{left}");
    }

    #[test]
    fn node_is_told_everything_ten_times_at_once_and_then_once_a_second() {
        let (admission, start) = (Admission::default(), Instant::now());
        let taken = |node, now| {
            let asked = (0..100).map(|_| admission.take_full_map(node, now));
            asked.filter(Result::is_ok).count()
        };
        assert_eq!(taken(1, start), 10);
        assert_eq!(taken(2, start), 10, "another node's are its own");
        assert_eq!(taken(1, start + Duration::from_secs(3)), 3);
        let refused = admission.take_full_map(1, start + Duration::from_secs(3));
        let refused = refused.expect_err("too often");
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.wait(), Duration::from_secs(1));
    }
}
