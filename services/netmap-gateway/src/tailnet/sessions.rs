//! The live map sessions of a tailnet: one for each node, the newest.

use std::{collections::BTreeMap, sync::Arc};

use bowline_ids::NodeId;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The live map sessions by node.
#[derive(Debug, Default)]
pub struct Sessions(Arc<Mutex<SessionSlots>>);

#[derive(Debug, Default)]
struct SessionSlots {
    /// Grows when all sessions that live have to end.
    ends: watch::Sender<u64>,
    /// The number of the newest slot, never used again.
    newest: u64,
    taken: BTreeMap<NodeId, TakenSlot>,
}

#[derive(Debug)]
struct TakenSlot {
    number: u64,
    /// The number of the connection it was taken on.
    connection: u64,
    /// Holds the epoch of the node's newest session anywhere, as far as it is known; dropped when a newer session
    /// takes the slot.
    hold: watch::Sender<u64>,
}

/// A node's place among the live sessions; given up when dropped.
#[derive(Debug)]
pub struct SessionSlot {
    sessions: Arc<Mutex<SessionSlots>>,
    node: NodeId,
    number: u64,
    connection: u64,
    hold: watch::Receiver<u64>,
    ends: watch::Receiver<u64>,
}

impl Sessions {
    /// Takes a node's slot on a connection; an older session on it ends.
    #[must_use]
    pub fn take_slot(&self, node: NodeId, connection: u64) -> SessionSlot {
        let (sender, hold) = watch::channel(0);
        let mut slots = lock_slots(&self.0);
        slots.newest += 1;
        let number = slots.newest;
        let taken = TakenSlot {
            number,
            connection,
            hold: sender,
        };
        slots.taken.insert(node, taken);
        SessionSlot {
            sessions: Arc::clone(&self.0),
            node,
            number,
            connection,
            hold,
            ends: slots.ends.subscribe(),
        }
    }

    /// Waits until no session of a node lives here.
    pub async fn wait_until_vacant(&self, node: NodeId) {
        loop {
            let held = lock_slots(&self.0)
                .taken
                .get(&node)
                .map(|taken| taken.hold.subscribe());
            let Some(mut held) = held else {
                return;
            };
            while held.changed().await.is_ok() {}
        }
    }

    /// Ends all sessions that live; their ends are reported like any other.
    pub fn end_all(&self) {
        lock_slots(&self.0).ends.send_modify(|count| *count += 1);
    }

    /// Tells the session of a node, if one lives here, the epoch of the node's newest session anywhere.
    pub fn note_newer_epoch(&self, node: NodeId, epoch: u64) {
        if let Some(taken) = lock_slots(&self.0).taken.get(&node) {
            taken.hold.send_replace(epoch);
        }
    }

    /// Returns how many sessions live.
    #[must_use]
    pub fn len(&self) -> usize {
        lock_slots(&self.0).taken.len()
    }
}

impl SessionSlot {
    /// Waits until a newer session has taken the slot, or one with a higher epoch than `own` lives elsewhere, or all
    /// have to end; while `own` is zero it is not known yet.
    pub fn wait_until_lost(
        &self,
        mut own: watch::Receiver<u64>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (mut hold, mut ends) = (self.hold.clone(), self.ends.clone());
        async move {
            let mut own_changes = true;
            loop {
                let epoch = *own.borrow_and_update();
                if epoch != 0 && *hold.borrow_and_update() > epoch {
                    return;
                }
                tokio::select! {
                    changed = hold.changed() => if changed.is_err() { return },
                    changed = own.changed(), if own_changes => own_changes = changed.is_ok(),
                    _ = ends.changed() => return,
                }
            }
        }
    }

    /// Says whether the slot was lost to another connection, here or at another gateway: not to a newer session of the
    /// same client on the same connection.
    #[must_use]
    pub fn is_lost_to_another(&self) -> bool {
        let slots = lock_slots(&self.sessions);
        let taken = slots.taken.get(&self.node);
        taken.is_none_or(|taken| taken.number == self.number || taken.connection != self.connection)
    }

    /// Says whether no newer session has taken the slot.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.has_changed().is_ok()
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        let mut slots = lock_slots(&self.sessions);
        let taken = slots.taken.get(&self.node);
        if taken.is_some_and(|taken| taken.number == self.number) {
            slots.taken.remove(&self.node);
        }
    }
}

fn lock_slots(slots: &Mutex<SessionSlots>) -> MutexGuard<'_, SessionSlots> {
    slots.lock()
}

#[cfg(test)]
mod tests;
