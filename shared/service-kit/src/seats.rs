//! Seats for connections: how many there may be, and who goes when there is no room.
//!
//! A connection that has proven nothing is a stranger's. Strangers make room: for a newcomer from the same source when that
//! source has its share, for any newcomer when all seats are taken. So silent connections, however many, keep nobody out.
//! Strangers never displace those who are known, and an eighth of the seats is theirs, so that everybody can come in.
//!
//! A connection whose client is known stays until it ends, unless those who are known have all of their seats: then the
//! owner with most seats gives one to whoever has fewer. So no owner, with however many nodes, keeps another out, and
//! nobody who has little goes while somebody has more. One holder has only so many in any case.
//!
//! ```text
//! accept ─▶ Seats::take(address) ─▶ Seat ─▶ Seated(socket): frees the seat when it is closed, fails when displaced
//!                                    └─▶ SeatHandle: settle(holder), unsettle, relocate(address)
//! ```

mod crowd;
mod known;
mod seated;
mod seating;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use known::SeatHolder;
pub use seated::Seated;
use seating::{Entered, Seating};

/// How many connections that were told to go may be there beside the others before newcomers wait for them.
pub const LEAVING: usize = 32;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatLimits {
    /// At once, of all.
    pub all: usize,
    /// At once, of one holder that is known.
    pub of_one_holder: usize,
}

/// The seats of a listener. `K` is what makes somebody known, such as a node of its owner.
#[derive(Debug)]
pub struct Seats<K: SeatHolder> {
    most: usize,
    state: Mutex<State<K>>,
    freed: Notify,
}

#[derive(Debug)]
struct State<K: SeatHolder> {
    seating: Seating<K>,
    ends: std::collections::BTreeMap<u64, CancellationToken>,
}

/// A seat, free again when dropped.
#[derive(Debug)]
pub struct Seat<K: SeatHolder>(SeatHandle<K>);

/// A way to say what becomes of a seat; holds nothing.
#[derive(Clone, Debug)]
pub struct SeatHandle<K: SeatHolder> {
    seats: Arc<Seats<K>>,
    id: u64,
    end: CancellationToken,
}

impl<K: SeatHolder> Seats<K> {
    /// Returns seats that are free.
    #[must_use]
    pub fn new(limits: SeatLimits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.all + LEAVING,
            state: Mutex::new(State {
                seating: Seating::new(limits),
                ends: std::collections::BTreeMap::new(),
            }),
            freed: Notify::new(),
        })
    }

    /// Takes a seat for a connection from `address`; `None` for an address that is not known yet, as of a trusted proxy.
    ///
    /// Waits only for connections that were told to go. Returns nothing when all seats are taken by those who stay.
    pub async fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Seat<K>> {
        loop {
            // Asked for before the look, so that no seat that becomes free in between is missed.
            let freed = self.freed.notified();
            {
                let mut state = self.state();
                if state.seating.held() < self.most {
                    let Entered { id, displaced } = state.seating.enter(address)?;
                    state.end(displaced);
                    let end = CancellationToken::new();
                    state.ends.insert(id, end.clone());
                    let seats = Arc::clone(self);
                    return Some(Seat(SeatHandle { seats, id, end }));
                }
            }
            freed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: SeatHolder> State<K> {
    fn end(&self, id: Option<u64>) {
        if let Some(end) = id.and_then(|id| self.ends.get(&id)) {
            metrics::counter!("bowline_connections_displaced_total").increment(1);
            end.cancel();
        }
    }
}

impl<K: SeatHolder> Seat<K> {
    /// Returns a way to say what becomes of it.
    #[must_use]
    pub fn handle(&self) -> SeatHandle<K> {
        self.0.clone()
    }
}

impl<K: SeatHolder> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut state = self.0.seats.state();
        state.seating.leave(self.0.id);
        state.ends.remove(&self.0.id);
        drop(state);
        self.0.seats.freed.notify_one();
    }
}

impl<K: SeatHolder> SeatHandle<K> {
    /// Notes that the client is known: the connection stays. `false` when its source has too many of those, or when there
    /// are no more seats for those who are known and nobody has more than it.
    pub fn settle(&self, holder: K) -> bool {
        let mut state = self.seats.state();
        let (stays, displaced) = state.seating.settle(self.id, holder);
        state.end(displaced);
        stays
    }

    /// Notes that the client is a stranger again.
    pub fn unsettle(&self) {
        self.seats.state().seating.unsettle(self.id);
    }

    /// Notes where a client comes from that a proxy speaks for.
    pub fn relocate(&self, address: IpAddr) {
        let mut state = self.seats.state();
        let displaced = state.seating.relocate(self.id, address);
        state.end(displaced);
    }

    /// Returns once the connection has to go for another.
    pub async fn displaced(&self) {
        self.end.cancelled().await;
    }
}

#[cfg(test)]
mod tests;
