//! The recent changes of a tailnet, and which nodes they concern.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bowline_ids::UserId;
use bowline_netmap::{
    ChangeSet, ClassId, ConcernedNodes, Difference, Generation, View, ViewerGroup,
};
use bowline_service_kit::{TraceParent, trace::export};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time::Instant};

use super::traces::RecentOrigins;

/// How many change sets are kept, and about how many bytes of them: a session further behind gets a full map.
const MOST_SETS: usize = 1024;
const MOST_BYTES: usize = 16 << 20;

/// How many differences to the newest view are kept, for sessions that have seen the same earlier generation.
const MOST_DIFFERENCES: usize = 8;

/// The published views of one tailnet.
#[derive(Debug)]
pub struct History {
    view: ArcSwap<View>,
    recent: Mutex<RecentChanges>,
}

#[derive(Debug, Default)]
struct RecentChanges {
    /// Consecutive change sets, each with its size in bytes, estimated; the last led to the newest view.
    sets: VecDeque<(usize, Arc<ChangeSet>)>,
    bytes: usize,
    /// What differs between earlier generations and the newest view; the generation before it is the first.
    differences: Vec<(Generation, Arc<Difference>)>,
    /// The spans that recent generations follow from.
    origins: RecentOrigins,
    wakes: GroupWakes,
    /// The groups that look again and have not been woken yet, each with the generation that concerns it: older ones first.
    waking: VecDeque<(Generation, watch::Sender<GroupWake>)>,
}

/// The newest wake of each group somebody listens for.
#[derive(Debug, Default)]
struct GroupWakes {
    by_class: BTreeMap<ClassId, BTreeMap<Option<UserId>, watch::Sender<GroupWake>>>,
    number: usize,
    /// At how many groups those are removed for which nobody listens any more.
    remove_at: usize,
}

/// The generation at which a group had to look again last, and the one before that.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupWake {
    previous: Generation,
    now: Generation,
}

impl GroupWake {
    /// Returns the generation to compare with, for a session that has seen generation `seen`.
    ///
    /// What lies between the two wakes does not concern the group, so a session that missed none of them does
    /// not fall behind however much happens elsewhere.
    #[must_use]
    pub fn compare_from(self, seen: Generation) -> Generation {
        if seen >= self.previous {
            seen.max(self.now.previous())
        } else {
            seen
        }
    }

    fn note_wake(&mut self, generation: Generation) {
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

    /// Notes which spans a generation follows from, before it is published.
    pub fn note_origins(&self, generation: Generation, origins: Vec<TraceParent>) {
        if !origins.is_empty() {
            self.lock_recent().origins.note(generation, origins);
        }
    }

    /// Returns the spans that a delta follows from, which takes a client from one generation to another; none when enough
    /// clients were told of the same.
    pub fn take_origins(&self, since: Generation, told: Generation) -> Vec<TraceParent> {
        match export::is_on() {
            true => self.lock_recent().origins.take(since, told),
            false => Vec::new(),
        }
    }

    /// Publishes a view; returns how many sessions look again. [`History::wake_some`] wakes them.
    pub fn publish_view(&self, view: Arc<View>, difference: Arc<Difference>) -> usize {
        let has_listeners = self.lock_recent().wakes.number > 0;
        // Without listeners nothing is computed, and every group is woken: also one that somebody begins to listen for
        // meanwhile.
        let concerned = has_listeners
            .then(|| difference.concerned_nodes(&view))
            .flatten();
        let generation = view.generation;
        let changes = Arc::clone(difference.changes());
        let weight = changes.estimate_bytes();
        let mut recent = self.lock_recent();
        self.view.store(view);
        recent.differences.clear();
        recent.sets.push_back((weight, changes));
        recent.bytes += weight;
        while recent.sets.len() > MOST_SETS || recent.bytes > MOST_BYTES {
            let Some((weight, _)) = recent.sets.pop_front() else {
                break;
            };
            recent.bytes -= weight;
        }
        if !recent.sets.is_empty() {
            let before = generation.previous();
            recent.differences.push((before, difference));
        }
        let concerned = recent.wakes.find(concerned.as_ref());
        let looking = concerned.iter().map(watch::Sender::receiver_count).sum();
        let waking = concerned.into_iter().map(|group| (generation, group));
        recent.waking.extend(waking);
        looking
    }

    /// Wakes about so many of the sessions that look again; says whether some are left.
    pub fn wake_some(&self, sessions: usize) -> bool {
        let (mut recent, mut woken) = (self.lock_recent(), 0);
        while woken < sessions
            && let Some((generation, group)) = recent.waking.pop_front()
        {
            woken += group.receiver_count();
            group.send_modify(|wake| wake.note_wake(generation));
        }
        !recent.waking.is_empty()
    }

    /// Listens for generations that concern a group, for a session that has seen generation `told`.
    pub fn listen_to_group(
        &self,
        group: ViewerGroup,
        told: Generation,
    ) -> watch::Receiver<GroupWake> {
        let mut recent = self.lock_recent();
        let generation = self.view.load().generation;
        let sender = recent.wakes.sender(group, generation);
        let mut wakes = sender.subscribe();
        if sender.borrow().now > told {
            // A generation since `told` has concerned the group.
            wakes.mark_changed();
        }
        wakes
    }

    /// Returns the newest view and what differs from generation `since`; `None` for the difference when that is
    /// longer ago than what is kept.
    pub fn difference_since(&self, since: Generation) -> (Arc<View>, Option<Arc<Difference>>) {
        let recent = self.lock_recent();
        let view = self.view.load_full();
        let known = recent.differences.iter().find(|(from, _)| *from == since);
        if let Some((_, difference)) = known {
            return (view, Some(Arc::clone(difference)));
        }
        let missed =
            usize::try_from(view.generation.0.saturating_sub(since.0)).unwrap_or(usize::MAX);
        let Some(first) = recent.sets.len().checked_sub(missed) else {
            return (view, None);
        };
        let sets = recent.sets.range(first..);
        let sets = sets.map(|(_, set)| Arc::clone(set)).collect();
        // The sets are merged without the lock, so that nobody waits for it.
        drop(recent);
        let difference = Arc::new(Difference::find(&view, &merge_changes(sets)));
        self.keep_difference(&view, since, &difference);
        (view, Some(difference))
    }

    fn keep_difference(&self, view: &View, since: Generation, difference: &Arc<Difference>) {
        let mut recent = self.lock_recent();
        if self.view.load().generation == view.generation {
            if recent.differences.len() == MOST_DIFFERENCES {
                recent.differences.remove(1);
            }
            recent.differences.push((since, Arc::clone(difference)));
        }
    }

    fn lock_recent(&self) -> MutexGuard<'_, RecentChanges> {
        self.recent.lock()
    }
}

impl GroupWakes {
    /// Finds what wakes the groups that are concerned, `None` for all. Its cost follows their number, not that of all groups.
    fn find(&self, concerned: Option<&ConcernedNodes>) -> Vec<watch::Sender<GroupWake>> {
        let Some(concerned) = concerned else {
            let all = self.by_class.values().flat_map(BTreeMap::values);
            return all.cloned().collect();
        };
        let classes = concerned.classes.iter();
        let whole = classes
            .filter_map(|class| self.by_class.get(class))
            .flat_map(BTreeMap::values);
        let groups = concerned.groups.iter();
        let others = groups.filter(|group| !concerned.classes.contains(&group.class));
        let others = others.filter_map(|group| self.by_class.get(&group.class)?.get(&group.user));
        whole.chain(others).cloned().collect()
    }

    /// Returns what wakes a group.
    fn sender(&mut self, group: ViewerGroup, newest: Generation) -> &watch::Sender<GroupWake> {
        if self.number >= self.remove_at {
            self.remove_unheard();
            self.remove_at = self.number * 2 + 1;
        }
        let users = self.by_class.entry(group.class).or_default();
        users.entry(group.user).or_insert_with(|| {
            self.number += 1;
            let wake = GroupWake {
                previous: newest,
                now: newest,
            };
            watch::channel(wake).0
        })
    }

    fn remove_unheard(&mut self) {
        for users in self.by_class.values_mut() {
            users.retain(|_, sender| sender.receiver_count() > 0);
        }
        self.by_class.retain(|_, users| !users.is_empty());
        self.number = self.by_class.values().map(BTreeMap::len).sum();
    }
}

/// Waits until there may be something to tell, but not before a moment.
pub async fn wait_for_wake(
    wake: &mut watch::Receiver<GroupWake>,
    not_before: Instant,
) -> Result<(), watch::error::RecvError> {
    if not_before > Instant::now() {
        tokio::time::sleep_until(not_before).await;
    }
    wake.changed().await
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
