//! How many of the requests that cost most are worked on at once, so that a storm of clients queues.
//!
//! Nodes that are known go first; then strangers, one of each network in turn, so that a crowd from one network waits
//! for itself.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use axum::http::StatusCode;
use bowline_service_kit::networks::Network;
use tokio::sync::oneshot;

use crate::machine::Failure;

/// How many registrations are with the registry at once: it commits those that wait together.
const REGISTRATIONS: usize = 256;
/// How long another request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who waits for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A node that is known.
    Known,
    /// Somebody of this network.
    Stranger(Network),
}

/// A bounded number of turns.
#[derive(Debug)]
pub struct Turns(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    free: usize,
    known: VecDeque<oneshot::Sender<Turn>>,
    strangers: BTreeMap<Network, VecDeque<oneshot::Sender<Turn>>>,
    /// The networks with strangers that wait, the next first.
    order: VecDeque<Network>,
}

/// A turn, free for the next when dropped.
#[derive(Debug)]
pub struct Turn(Arc<Turns>);

impl Turns {
    /// Returns so many turns.
    pub fn new(free: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Waiting {
            free,
            known: VecDeque::new(),
            strangers: BTreeMap::new(),
            order: VecDeque::new(),
        })))
    }

    /// Waits for a turn, but not longer than this.
    pub async fn take(self: &Arc<Self>, asker: Asker, patience: Duration) -> Option<Turn> {
        let waiting = {
            let mut state = self.waiting();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            state.queue(asker, sender);
            receiver
        };
        // A turn that arrives too late is dropped with the message, and goes to the next.
        tokio::time::timeout(patience, waiting).await.ok()?.ok()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn queue(&mut self, asker: Asker, sender: oneshot::Sender<Turn>) {
        match asker {
            Asker::Known => self.known.push_back(sender),
            Asker::Stranger(network) => {
                let of_network = self.strangers.entry(network).or_default();
                if of_network.is_empty() {
                    self.order.push_back(network);
                }
                of_network.push_back(sender);
            }
        }
    }

    /// Returns who is next of those who still wait.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(sender) = self.known.pop_front().or_else(|| self.next_stranger()) {
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn next_stranger(&mut self) -> Option<oneshot::Sender<Turn>> {
        let network = self.order.pop_front()?;
        let of_network = self.strangers.get_mut(&network)?;
        let sender = of_network.pop_front();
        if of_network.is_empty() {
            self.strangers.remove(&network);
        } else {
            self.order.push_back(network);
        }
        sender
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.waiting();
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
    registrations: Arc<Turns>,
    first_maps: Arc<Turns>,
}

impl Admission {
    /// Returns turns for a number of registrations and of first messages at once.
    fn new(registrations: usize, first_maps: usize) -> Self {
        Self {
            registrations: Turns::new(registrations),
            first_maps: Turns::new(first_maps),
        }
    }

    /// Waits for the turn to ask the registry for a registration.
    ///
    /// # Errors
    ///
    /// 429 when too many wait.
    pub async fn registration(&self, asker: Asker) -> Result<Turn, Failure> {
        let turn = self.registrations.take(asker, PATIENCE).await;
        turn.ok_or_else(|| {
            let text = "too many devices are logging in at the moment: try again in a few seconds";
            Failure::new(StatusCode::TOO_MANY_REQUESTS, text)
        })
    }

    /// Waits for the turn to make the first message of a response, unless a newer one of the same node has taken its
    /// place: what nobody has a use for costs no turn, so the requests of one node never fill the queue.
    ///
    /// # Errors
    ///
    /// 503 when too many wait, and when the response was replaced.
    pub async fn first_map(&self, replaced: impl Future<Output = ()>) -> Result<Turn, Failure> {
        let turn = tokio::select! {
            biased;
            () = replaced => {
                let text = "a newer request of this device has taken the place of this one";
                return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, text));
            }
            turn = self.first_maps.take(Asker::Known, PATIENCE) => turn,
        };
        turn.ok_or_else(|| {
            let text = "too many devices are connecting at the moment: try again in a few seconds";
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }
}

impl Default for Admission {
    /// Returns a turn for first messages, which keep a processor busy, for each processor but one: that one answers
    /// everybody else meanwhile.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self::new(REGISTRATIONS, processors.saturating_sub(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    fn of(address: &str) -> Asker {
        Asker::Stranger(Network::narrowest(address.parse().expect("an address")))
    }

    #[tokio::test(start_paused = true)]
    async fn those_beyond_the_bound_wait_for_their_turn_and_are_then_told_to_come_back() {
        let admission = Admission::new(1, 1);
        let registration = admission.registration(Asker::Known).await.expect("free");
        let map = admission.first_map(pending()).await.expect("free");
        let refused = admission.registration(of("192.0.2.1")).await;
        assert_eq!(refused.expect_err("none is free").status(), 429);
        let refused = admission.first_map(pending()).await;
        assert_eq!(refused.expect_err("none is free").status(), 503);
        let waiting = tokio::join!(
            admission.registration(of("192.0.2.1")),
            admission.first_map(pending()),
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
        let replaced = admission.first_map(ready(())).await;
        assert_eq!(replaced.expect_err("it was replaced").status(), 503);
        let map = admission.first_map(pending()).await.expect("free");
        let waiting = Instant::now();
        let replaced = admission.first_map(tokio::time::sleep(PATIENCE / 2)).await;
        assert_eq!(replaced.expect_err("it was replaced").status(), 503);
        assert_eq!(waiting.elapsed(), PATIENCE / 2, "at once, not at the end");
        drop(map);
        assert!(admission.first_map(pending()).await.is_ok(), "it is free");
    }

    #[tokio::test(start_paused = true)]
    async fn known_nodes_go_first_and_networks_take_turns() {
        let turns = Turns::new(1);
        let first = turns.take(Asker::Known, PATIENCE).await.expect("free");
        let order = Mutex::new(Vec::new());
        let ask = |name: &'static str, asker| {
            let (turns, order) = (&turns, &order);
            async move {
                let turn = turns.take(asker, PATIENCE).await.expect("in time");
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
                ask("known", Asker::Known),
                async { drop(first) },
            )
        };
        asking.await;
        let order = order.into_inner().expect("whole");
        assert_eq!(order, ["known", "a1", "b1", "a2", "a3"]);
        let state = turns.waiting();
        assert!(state.free == 1 && state.strangers.is_empty() && state.order.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn turn_of_those_who_have_gone_goes_on() {
        let turns = Turns::new(1);
        let held = turns.take(Asker::Known, PATIENCE).await.expect("free");
        for _ in 0..1000 {
            let late = turns.take(of("192.0.2.1"), Duration::ZERO).await;
            assert!(late.is_none());
        }
        drop(held);
        assert!(turns.take(of("192.0.2.1"), Duration::ZERO).await.is_some());
        assert_eq!(turns.waiting().free, 1);
    }
}
