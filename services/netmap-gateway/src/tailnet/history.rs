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
mod tests {
    use bowline_netmap::{
        FilterSources,
        fixture::{TestTailnet, compiled, node, user},
    };
    use bowline_proto::{
        identity::v1::{User, identity_change::Change},
        key_registry::v1::Node,
        policy::v1::Class,
    };

    use super::*;

    /// A history with the views of a small tailnet.
    struct Stage {
        lab: TestTailnet,
        history: History,
    }

    impl Stage {
        fn new() -> Self {
            let mut stage = Self {
                lab: TestTailnet::unpublished(FilterSources::Addresses),
                history: History::default(),
            };
            stage.publish();
            stage
        }

        fn publish(&mut self) -> Arc<ChangeSet> {
            let (view, changes) = self.lab.replica.publish().expect("something differs");
            self.history.publish_view(view, Arc::clone(&changes));
            changes
        }

        fn rename(&mut self, round: usize) -> Arc<ChangeSet> {
            self.lab.put(Node {
                name: format!("name{round}"),
                ..node(2)
            });
            self.publish()
        }
    }

    #[test]
    fn one_change_is_handed_out_as_it_is_and_several_are_put_together() {
        let mut stage = Stage::new();
        let first = stage.rename(1);
        let (_, since) = stage.history.changes_since(1);
        assert!(Arc::ptr_eq(&since.expect("kept"), &first));
        stage.rename(2);
        let (view, since) = stage.history.changes_since(1);
        assert_eq!(since.expect("kept").nodes, first.nodes);
        assert_eq!(view.generation, 3);
    }

    #[test]
    fn changes_are_kept_within_a_number_and_a_budget_of_bytes() {
        let mut stage = Stage::new();
        (0..=KEPT).for_each(|round| drop(stage.rename(round)));
        let newest = stage.history.view().generation;
        assert!(
            stage
                .history
                .changes_since(newest - KEPT as u64)
                .1
                .is_some()
        );
        assert!(
            stage
                .history
                .changes_since(newest - KEPT as u64 - 1)
                .1
                .is_none()
        );
        let mut update = compiled(stage.lab.revision, &[1, 2], false);
        let elements = (0..BUDGET / 64).map(|number| format!("10.{number}.0.0/16"));
        update.source_lists[0].added = elements.collect();
        stage.lab.replica.apply_compiled(vec![update]);
        stage.publish();
        assert!(
            stage.history.changes_since(newest).1.is_none(),
            "one that is too large is not kept"
        );
        stage.rename(0);
        assert!(stage.history.changes_since(newest + 1).1.is_some());
    }

    #[test]
    fn only_viewers_of_a_users_nodes_look_again_when_its_name_differs() {
        let mut stage = Stage::new();
        let lab = &mut stage.lab;
        lab.identity(Change::User(user(8)));
        lab.put(Node {
            user_id: 8,
            ..node(3)
        });
        let mut update = compiled(lab.revision, &[1, 2, 3], true);
        let apart = Class {
            id: 2,
            selectors: vec![8],
            sees: vec![8],
            ..Class::default()
        };
        update.classes.push(apart);
        update.memberships[2].class_id = 2;
        lab.replica.apply_compiled(vec![update]);
        stage.publish();
        let told = stage.history.view().generation;
        let (own, other) = (
            stage.history.listen_to_class(2, told),
            stage.history.listen_to_class(1, told),
        );
        let named = User {
            display_name: "Somebody".to_owned(),
            ..user(8)
        };
        stage.lab.identity(Change::User(named));
        stage.publish();
        assert!(own.has_changed().expect("open") && !other.has_changed().expect("open"));
    }
}
