//! Slots for connections: how many there may be, and who goes when there is no room.
//!
//! A connection that has proven nothing is a stranger's. Strangers make room: for a newcomer from the same source when that
//! source has its share, for any newcomer when all slots are taken. So silent connections, however many, keep nobody out.
//! Strangers never displace those who are known, and an eighth of the slots is theirs, so that everybody can come in.
//!
//! A connection whose client is known stays until it ends, unless those who are known have all of their slots: then the
//! owner with most slots gives one to whoever has fewer. So no owner, with however many nodes, keeps another out, and
//! nobody who has little goes while somebody has more. One holder has only so many in any case.
//!
//! ```text
//! accept ─▶ ConnectionSlots::take_slot(address) ─▶ ConnectionSlot ─▶ SlotStream(socket): frees the slot when it is closed,
//!                                                        │            fails when displaced
//!                                                        └─▶ SlotHandle: mark_known(holder), mark_stranger, set_address
//! ```

mod known;
mod slot_stream;
mod slot_table;
mod strangers;

use std::{net::IpAddr, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use known::SlotHolder;
pub use slot_stream::SlotStream;
use slot_table::{SlotGrant, SlotTable};

/// How many connections that were told to go may be there beside the others before newcomers wait for them.
pub const LEAVING: usize = 32;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLimits {
    /// At once, of all.
    pub all: usize,
    /// At once, of one holder that is known.
    pub of_one_holder: usize,
}

/// The slots of a listener. `K` is what makes somebody known, such as a node of its owner.
#[derive(Debug)]
pub struct ConnectionSlots<K: SlotHolder> {
    most: usize,
    state: Mutex<SlotState<K>>,
    freed: Notify,
}

#[derive(Debug)]
struct SlotState<K: SlotHolder> {
    table: SlotTable<K>,
    ends: std::collections::BTreeMap<u64, CancellationToken>,
}

/// A slot, free again when dropped.
#[derive(Debug)]
pub struct ConnectionSlot<K: SlotHolder>(SlotHandle<K>);

/// A way to say what becomes of a slot; holds nothing.
#[derive(Clone, Debug)]
pub struct SlotHandle<K: SlotHolder> {
    slots: Arc<ConnectionSlots<K>>,
    id: u64,
    end: CancellationToken,
}

impl<K: SlotHolder> ConnectionSlots<K> {
    /// Returns slots that are free.
    #[must_use]
    pub fn new(limits: SlotLimits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.all + LEAVING,
            state: Mutex::new(SlotState {
                table: SlotTable::new(limits),
                ends: std::collections::BTreeMap::new(),
            }),
            freed: Notify::new(),
        })
    }

    /// Takes a slot for a connection from `address`; `None` for an address that is not known yet, as of a trusted proxy.
    ///
    /// Waits only for connections that were told to go. Returns nothing when all slots are taken by those who stay.
    pub async fn take_slot(self: &Arc<Self>, address: Option<IpAddr>) -> Option<ConnectionSlot<K>> {
        loop {
            // Asked for before the look, so that no slot that becomes free in between is missed.
            let freed = self.freed.notified();
            {
                let mut state = self.lock_state();
                if state.table.count_slots() < self.most {
                    let SlotGrant { id, displaced } = state.table.add_connection(address)?;
                    state.end_connection(displaced);
                    let end = CancellationToken::new();
                    state.ends.insert(id, end.clone());
                    let slots = Arc::clone(self);
                    return Some(ConnectionSlot(SlotHandle { slots, id, end }));
                }
            }
            freed.await;
        }
    }

    fn lock_state(&self) -> MutexGuard<'_, SlotState<K>> {
        self.state.lock()
    }
}

impl<K: SlotHolder> SlotState<K> {
    fn end_connection(&self, id: Option<u64>) {
        if let Some(end) = id.and_then(|id| self.ends.get(&id)) {
            metrics::counter!("bowline_connections_displaced_total").increment(1);
            end.cancel();
        }
    }
}

impl<K: SlotHolder> ConnectionSlot<K> {
    /// Returns a way to say what becomes of it.
    #[must_use]
    pub fn handle(&self) -> SlotHandle<K> {
        self.0.clone()
    }
}

impl<K: SlotHolder> Drop for ConnectionSlot<K> {
    fn drop(&mut self) {
        let mut state = self.0.slots.lock_state();
        state.table.remove_connection(self.0.id);
        state.ends.remove(&self.0.id);
        drop(state);
        self.0.slots.freed.notify_one();
    }
}

impl<K: SlotHolder> SlotHandle<K> {
    /// Notes that the client is known: the connection stays. `false` when its source has too many of those, or when there
    /// are no more slots for those who are known and nobody has more than it.
    pub fn mark_known(&self, holder: K) -> bool {
        let mut state = self.slots.lock_state();
        let (stays, displaced) = state.table.mark_known(self.id, holder);
        state.end_connection(displaced);
        stays
    }

    /// Notes that the client is a stranger again.
    pub fn mark_stranger(&self) {
        self.slots.lock_state().table.mark_stranger(self.id);
    }

    /// Notes where a client comes from that a proxy speaks for.
    pub fn set_address(&self, address: IpAddr) {
        let mut state = self.slots.lock_state();
        let displaced = state.table.set_address(self.id, address);
        state.end_connection(displaced);
    }

    /// Returns once the connection has to go for another.
    pub async fn wait_for_displacement(&self) {
        self.end.cancelled().await;
    }
}

#[cfg(test)]
mod tests;
