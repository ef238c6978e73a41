//! The live map sessions of a tailnet: one for each node, the newest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// The live map sessions by node.
#[derive(Debug, Default)]
pub struct Sessions(Arc<Mutex<SessionSlots>>);

#[derive(Debug, Default)]
struct SessionSlots {
    /// Grows when all sessions that live have to end.
    ends: watch::Sender<u64>,
    /// The number of the newest seat, never used again.
    newest: u64,
    taken: BTreeMap<u64, TakenSlot>,
}

#[derive(Debug)]
struct TakenSlot {
    number: u64,
    /// The number of the connection it was taken on.
    connection: u64,
    /// Holds the epoch of the node's newest session anywhere, as far as it is known; dropped when a newer session
    /// takes the seat.
    hold: watch::Sender<u64>,
}

/// A node's place among the live sessions; given up when dropped.
#[derive(Debug)]
pub struct SessionSlot {
    sessions: Arc<Mutex<SessionSlots>>,
    node: u64,
    number: u64,
    connection: u64,
    hold: watch::Receiver<u64>,
    ends: watch::Receiver<u64>,
}

impl Sessions {
    /// Takes a node's seat on a connection; an older session on it ends.
    #[must_use]
    pub fn take_slot(&self, node: u64, connection: u64) -> SessionSlot {
        let (sender, hold) = watch::channel(0);
        let mut seats = lock_slots(&self.0);
        seats.newest += 1;
        let number = seats.newest;
        let taken = TakenSlot {
            number,
            connection,
            hold: sender,
        };
        seats.taken.insert(node, taken);
        SessionSlot {
            sessions: Arc::clone(&self.0),
            node,
            number,
            connection,
            hold,
            ends: seats.ends.subscribe(),
        }
    }

    /// Waits until no session of a node lives here.
    pub async fn wait_until_vacant(&self, node: u64) {
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
    pub fn note_newer_epoch(&self, node: u64, epoch: u64) {
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
    /// Waits until a newer session has taken the seat, or one with a higher epoch than `own` lives elsewhere, or all
    /// have to end; while `own` is zero it is not known yet.
    pub async fn wait_until_lost(&mut self, own: &mut watch::Receiver<u64>) {
        let mut own_changes = true;
        loop {
            let epoch = *own.borrow_and_update();
            if epoch != 0 && *self.hold.borrow_and_update() > epoch {
                return;
            }
            tokio::select! {
                changed = self.hold.changed() => if changed.is_err() { return },
                changed = own.changed(), if own_changes => own_changes = changed.is_ok(),
                _ = self.ends.changed() => return,
            }
        }
    }

    /// Says whether the seat was lost to another connection, here or at another gateway: not to a newer session of the
    /// same client on the same connection.
    #[must_use]
    pub fn is_lost_to_another(&self) -> bool {
        let seats = lock_slots(&self.sessions);
        let taken = seats.taken.get(&self.node);
        taken.is_none_or(|taken| taken.number == self.number || taken.connection != self.connection)
    }

    /// Says whether no newer session has taken the seat.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.has_changed().is_ok()
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        let mut seats = lock_slots(&self.sessions);
        let taken = seats.taken.get(&self.node);
        if taken.is_some_and(|taken| taken.number == self.number) {
            seats.taken.remove(&self.node);
        }
    }
}

fn lock_slots(seats: &Mutex<SessionSlots>) -> MutexGuard<'_, SessionSlots> {
    seats.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns an epoch that the registry has not given yet.
    fn unknown() -> (watch::Sender<u64>, watch::Receiver<u64>) {
        watch::channel(0)
    }

    async fn ends(seat: &mut SessionSlot, epoch: &mut watch::Receiver<u64>) -> bool {
        let limit = Duration::from_millis(1);
        tokio::time::timeout(limit, seat.wait_until_lost(epoch))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn newer_session_ends_the_older_and_keeps_the_seat() {
        let sessions = Sessions::default();
        let mut older = sessions.take_slot(7, 1);
        let newer = sessions.take_slot(7, 1);
        older.wait_until_lost(&mut unknown().1).await;
        assert!(!older.is_lost_to_another());
        assert!(!older.is_held() && newer.is_held());
        drop(older);
        assert_eq!(sessions.len(), 1);
        drop(newer);
        assert_eq!(sessions.len(), 0);
    }

    #[tokio::test]
    async fn session_that_ends_late_takes_no_seat_from_newer_ones() {
        let sessions = Sessions::default();
        let half_open = sessions.take_slot(7, 1);
        drop(sessions.take_slot(7, 2));
        let newest = sessions.take_slot(7, 3);
        drop(half_open);
        assert!(newest.is_held());
        assert_eq!(sessions.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn session_with_a_higher_epoch_elsewhere_ends_the_one_here() {
        let sessions = Sessions::default();
        let mut seat = sessions.take_slot(7, 1);
        let (given, mut epoch) = unknown();
        sessions.note_newer_epoch(7, 5);
        assert!(
            !ends(&mut seat, &mut epoch).await,
            "its own epoch may be higher"
        );
        given.send_replace(5);
        assert!(!ends(&mut seat, &mut epoch).await, "that is itself");
        sessions.note_newer_epoch(7, 6);
        assert!(ends(&mut seat, &mut epoch).await);
        assert!(seat.is_lost_to_another());
    }

    #[tokio::test(start_paused = true)]
    async fn seat_is_vacant_when_the_last_of_its_sessions_has_ended() {
        let sessions = Sessions::default();
        let first = sessions.take_slot(7, 1);
        let second = sessions.take_slot(7, 2);
        assert!(first.is_lost_to_another());
        let limit = Duration::from_millis(1);
        for held in [first, second] {
            let waited = tokio::time::timeout(limit, sessions.wait_until_vacant(7)).await;
            assert!(waited.is_err(), "somebody has it");
            drop(held);
        }
        sessions.wait_until_vacant(7).await;
        sessions.wait_until_vacant(8).await;
    }
}
