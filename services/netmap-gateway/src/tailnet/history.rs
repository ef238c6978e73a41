//! What changed lately, and which classes have to look again: the level a session compares itself with.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{change_set::ChangeSet, view::View};

/// How many change sets are kept: a session further behind gets a full map.
const KEPT: usize = 1024;

/// The published views of one tailnet.
#[derive(Debug)]
pub struct History {
    view: ArcSwap<View>,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Change sets by the generation they led to, without holes.
    sets: VecDeque<(u64, Arc<ChangeSet>)>,
    /// The newest wake of each class somebody listens for.
    wakes: BTreeMap<u64, watch::Sender<Wake>>,
}

/// The generation at which a class had to look again last, and the one before that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wake {
    previous: u64,
    now: u64,
}

impl Wake {
    /// Returns the generation to compare with, for a session that has seen generation `seen`.
    ///
    /// What lies between the two wakes does not concern the class, so a session that missed none of them does
    /// not fall behind however much happens elsewhere.
    #[must_use]
    pub fn since(self, seen: u64) -> u64 {
        if seen >= self.previous {
            seen.max(self.now.saturating_sub(1))
        } else {
            seen
        }
    }

    fn next(&mut self, generation: u64) {
        *self = Self {
            previous: self.now,
            now: generation,
        };
    }
}

impl Default for History {
    fn default() -> Self {
        Self {
            view: ArcSwap::from_pointee(View::default()),
            recent: Mutex::default(),
        }
    }
}

impl History {
    /// Returns the newest view.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Publishes a view and wakes the classes it concerns.
    pub fn publish(&self, view: Arc<View>, changes: Arc<ChangeSet>) {
        let affected = changes.affected(&view);
        let generation = view.generation;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.view.store(view);
        recent.sets.push_back((generation, changes));
        if recent.sets.len() > KEPT {
            recent.sets.pop_front();
        }
        recent.wakes.retain(|_, wake| wake.receiver_count() > 0);
        let concerned = |class: &u64| affected.as_ref().is_none_or(|some| some.contains(class));
        for (_, wake) in recent.wakes.iter().filter(|(class, _)| concerned(class)) {
            wake.send_modify(|wake| wake.next(generation));
        }
    }

    /// Listens for generations that concern a class, for a session that was told of generation `told`.
    pub fn listen(&self, class: u64, told: u64) -> watch::Receiver<Wake> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.view.load().generation;
        let wake = Wake {
            previous: generation,
            now: generation,
        };
        let sender = recent
            .wakes
            .entry(class)
            .or_insert_with(|| watch::channel(wake).0);
        let mut wakes = sender.subscribe();
        if sender.borrow().now > told {
            // Something came between what was told and now.
            wakes.mark_changed();
        }
        wakes
    }

    /// Returns the newest view and what differs from generation `since`; `None` for the difference when that is
    /// longer ago than what is kept.
    pub fn since(&self, since: u64) -> (Arc<View>, Option<ChangeSet>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view.load_full();
        let missed = usize::try_from(view.generation.saturating_sub(since)).unwrap_or(usize::MAX);
        let Some(first) = recent.sets.len().checked_sub(missed) else {
            return (view, None);
        };
        let mut changes = ChangeSet::default();
        for (_, set) in recent.sets.range(first..) {
            changes.extend(set);
        }
        (view, Some(changes))
    }
}
