//! What changed lately, and which classes have to look again: the level a session compares itself with.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use bowline_netmap::{ChangeSet, View};
use tokio::sync::watch;

/// How many change sets are kept, and about how many bytes of them: a session further behind gets a full map.
const KEPT: usize = 1024;
const BUDGET: usize = 16 << 20;

/// The published views of one tailnet.
#[derive(Debug)]
pub struct History {
    view: ArcSwap<View>,
    recent: Mutex<RecentChanges>,
}

#[derive(Debug, Default)]
struct RecentChanges {
    /// Change sets without holes, the newest led to the view; each with about how many bytes it takes.
    sets: VecDeque<(usize, Arc<ChangeSet>)>,
    bytes: usize,
    /// The newest wake of each class somebody listens for.
    wakes: BTreeMap<u64, watch::Sender<ClassWake>>,
}

/// The generation at which a class had to look again last, and the one before that.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassWake {
    previous: u64,
    now: u64,
}

impl ClassWake {
    /// Returns the generation to compare with, for a session that has seen generation `seen`.
    ///
    /// What lies between the two wakes does not concern the class, so a session that missed none of them does
    /// not fall behind however much happens elsewhere.
    #[must_use]
    pub fn compare_from(self, seen: u64) -> u64 {
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
    pub fn publish_view(&self, view: Arc<View>, changes: Arc<ChangeSet>) {
        let has_listeners = !self.lock_recent().wakes.is_empty();
        // Who begins to listen meanwhile is woken in any case.
        let affected = has_listeners
            .then(|| changes.affected_classes(&view))
            .flatten();
        let generation = view.generation;
        let weight = changes.estimate_bytes();
        let mut recent = self.lock_recent();
        self.view.store(view);
        recent.sets.push_back((weight, changes));
        recent.bytes += weight;
        while recent.sets.len() > KEPT || recent.bytes > BUDGET {
            let Some((weight, _)) = recent.sets.pop_front() else {
                break;
            };
            recent.bytes -= weight;
        }
        recent.wakes.retain(|_, wake| wake.receiver_count() > 0);
        let concerned = |class: &u64| affected.as_ref().is_none_or(|some| some.contains(class));
        for (_, wake) in recent.wakes.iter().filter(|(class, _)| concerned(class)) {
            wake.send_modify(|wake| wake.next(generation));
        }
    }

    /// Listens for generations that concern a class, for a session that was told of generation `told`.
    pub fn listen_to_class(&self, class: u64, told: u64) -> watch::Receiver<ClassWake> {
        let mut recent = self.lock_recent();
        let generation = self.view.load().generation;
        let wake = ClassWake {
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
    pub fn changes_since(&self, since: u64) -> (Arc<View>, Option<Arc<ChangeSet>>) {
        let (view, sets) = self.sets_since(since);
        (view, sets.map(merge_changes))
    }

    /// Returns the newest view and the change sets since a generation: what is made of them holds up nobody.
    fn sets_since(&self, since: u64) -> (Arc<View>, Option<Vec<Arc<ChangeSet>>>) {
        let recent = self.lock_recent();
        let view = self.view.load_full();
        let missed = usize::try_from(view.generation.saturating_sub(since)).unwrap_or(usize::MAX);
        let first = recent.sets.len().checked_sub(missed);
        let sets = first.map(|first| recent.sets.range(first..).map(|(_, set)| Arc::clone(set)));
        (view, sets.map(Iterator::collect))
    }

    fn lock_recent(&self) -> MutexGuard<'_, RecentChanges> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge_changes(mut sets: Vec<Arc<ChangeSet>>) -> Arc<ChangeSet> {
    if sets.len() == 1 {
        return sets.remove(0);
    }
    let mut changes = ChangeSet::default();
    sets.iter().for_each(|set| changes.extend(set));
    Arc::new(changes)
}

#[cfg(test)]
mod tests;
