//! The live map sessions of a tailnet: one for each node, the newest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// The live map sessions by node.
#[derive(Debug, Default)]
pub struct Sessions(Arc<Mutex<BTreeMap<u64, Taken>>>);

#[derive(Debug)]
struct Taken {
    number: u64,
    /// Dropped when a newer session takes the seat.
    _hold: watch::Sender<()>,
}

/// A node's place among the live sessions; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Mutex<BTreeMap<u64, Taken>>>,
    node: u64,
    number: u64,
    hold: watch::Receiver<()>,
}

impl Sessions {
    /// Takes a node's seat; an older session on it ends.
    #[must_use]
    pub fn take(&self, node: u64) -> Seat {
        let (sender, hold) = watch::channel(());
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seats.get(&node).map_or(1, |taken| taken.number + 1);
        seats.insert(
            node,
            Taken {
                number,
                _hold: sender,
            },
        );
        Seat {
            seats: Arc::clone(&self.0),
            node,
            number,
            hold,
        }
    }

    /// Returns how many sessions live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Seat {
    /// Waits until a newer session has taken the seat.
    pub async fn lost(&mut self) {
        while self.hold.changed().await.is_ok() {}
    }

    /// Says whether no newer session has taken the seat.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.has_changed().is_ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats
            .get(&self.node)
            .is_some_and(|taken| taken.number == self.number)
        {
            seats.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn newer_session_ends_the_older_and_keeps_the_seat() {
        let sessions = Sessions::default();
        let mut older = sessions.take(7);
        let newer = sessions.take(7);
        older.lost().await;
        assert!(!older.is_held() && newer.is_held());
        drop(older);
        assert_eq!(sessions.len(), 1);
        drop(newer);
        assert_eq!(sessions.len(), 0);
    }
}
