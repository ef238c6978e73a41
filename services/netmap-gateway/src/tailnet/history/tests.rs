use bowline_netmap::{
    FilterSources,
    fixture::{TestTailnet, compiled, node, user},
};
use bowline_proto::{
    identity::v1::{User, identity_change::Change},
    key_registry::v1::Node,
    policy::v1::{Class, CompiledUpdate},
};

use super::*;

/// A history with the views of a small tailnet.
struct TestHistory {
    tailnet: TestTailnet,
    history: History,
}

impl TestHistory {
    fn new() -> Self {
        let mut test = Self {
            tailnet: TestTailnet::unpublished(FilterSources::Addresses),
            history: History::default(),
        };
        test.publish();
        test
    }

    fn publish(&mut self) -> Arc<ChangeSet> {
        let (view, changes) = self.tailnet.replica.publish().expect("something differs");
        let difference = Difference::find(&view, &changes);
        self.history.publish_view(view, Arc::new(difference));
        self.history.wake_some(usize::MAX);
        changes
    }

    fn listen(&self, class: u64, user: u64, told: Generation) -> watch::Receiver<GroupWake> {
        let group = ViewerGroup {
            class: ClassId(class),
            user: UserId::try_from(user).ok(),
        };
        self.history.listen_to_group(group, told)
    }

    fn rename(&mut self, round: usize) -> Arc<ChangeSet> {
        self.tailnet.put(Node {
            name: format!("name{round}"),
            ..node(2)
        });
        self.publish()
    }
}

#[test]
fn one_change_is_handed_out_as_it_is_and_several_are_put_together() {
    let mut test = TestHistory::new();
    let first = test.rename(1);
    let (_, since) = test.history.difference_since(Generation(1));
    assert!(Arc::ptr_eq(since.expect("kept").changes(), &first));
    test.rename(2);
    let (view, since) = test.history.difference_since(Generation(1));
    let since = since.expect("kept");
    assert_eq!(since.changes().nodes, first.nodes);
    let (_, again) = test.history.difference_since(Generation(1));
    assert!(
        Arc::ptr_eq(&since, &again.expect("kept")),
        "found once for all"
    );
    assert_eq!(view.generation, Generation(3));
}

#[test]
fn changes_are_kept_within_a_number_and_a_budget_of_bytes() {
    let mut test = TestHistory::new();
    (0..=MOST_SETS).for_each(|round| drop(test.rename(round)));
    let newest = test.history.view().generation;
    assert!(
        test.history
            .difference_since(Generation(newest.0 - MOST_SETS as u64))
            .1
            .is_some()
    );
    assert!(
        test.history
            .difference_since(Generation(newest.0 - MOST_SETS as u64 - 1))
            .1
            .is_none()
    );
    let mut update = compiled(test.tailnet.revision, &[1, 2], false);
    let elements = (0..MOST_BYTES / 64).map(|number| format!("10.{number}.0.0/16"));
    update.source_lists[0].added = elements.collect();
    test.tailnet.replica.apply_compiled(vec![update]);
    test.publish();
    assert!(
        test.history.difference_since(newest).1.is_none(),
        "one that is too large is not kept"
    );
    test.rename(0);
    assert!(test.history.difference_since(newest.next()).1.is_some());
}

#[test]
fn only_viewers_of_a_users_nodes_look_again_when_its_name_differs() {
    let mut test = TestHistory::new();
    let tailnet = &mut test.tailnet;
    tailnet.identity(Change::User(user(8)));
    tailnet.put(Node {
        user_id: 8,
        ..node(3)
    });
    let mut update = compiled(tailnet.revision, &[1, 2, 3], true);
    let apart = Class {
        id: 2,
        selectors: vec![8],
        sees: vec![8],
        ..Class::default()
    };
    update.classes.push(apart);
    update.memberships[2].class_id = 2;
    tailnet.replica.apply_compiled(vec![update]);
    test.publish();
    let told = test.history.view().generation;
    let (own, other) = (test.listen(2, 8, told), test.listen(1, 7, told));
    let named = User {
        display_name: "Somebody".to_owned(),
        ..user(8)
    };
    test.tailnet.identity(Change::User(named));
    test.publish();
    assert!(own.has_changed().expect("open") && !other.has_changed().expect("open"));
}

/// A history with nodes of a class that sees only devices of one's own: 1 and 2 of user 7, 3 of user 8.
fn history_of_own_devices() -> TestHistory {
    let mut test = TestHistory::new();
    let tailnet = &mut test.tailnet;
    tailnet.identity(Change::User(user(8)));
    tailnet.put(Node {
        user_id: 8,
        ..node(3)
    });
    let update = own_devices_policy(tailnet);
    tailnet.replica.apply_compiled(vec![update]);
    test.publish();
    test
}

/// A policy by which three nodes of one class see devices of their user alone.
fn own_devices_policy(tailnet: &TestTailnet) -> CompiledUpdate {
    let mut update = compiled(tailnet.revision, &[1, 2, 3], true);
    update.classes[0].sees.clear();
    update.classes[0].sees_own = true;
    update
}

#[test]
fn only_a_users_devices_look_again_when_one_of_them_differs_that_nobody_else_sees() {
    let mut test = history_of_own_devices();
    let told = test.history.view().generation;
    let (same, other) = (test.listen(1, 7, told), test.listen(1, 8, told));
    test.rename(1);
    assert!(same.has_changed().expect("open") && !other.has_changed().expect("open"));
}

#[test]
fn groups_for_which_nobody_listens_are_not_kept() {
    let test = history_of_own_devices();
    let told = test.history.view().generation;
    let stays = test.listen(1, 7, told);
    for user in 8..1000 {
        drop(test.listen(1, user, told));
    }
    let kept = test.history.lock_recent().wakes.number;
    assert!(kept <= 4, "{kept}");
    assert!(!stays.has_changed().expect("open"));
}

#[test]
fn sessions_are_woken_a_few_at_a_time_and_older_generations_first() {
    let mut test = history_of_own_devices();
    let told = test.history.view().generation;
    let mut wakes: Vec<_> = (0..3).map(|_| test.listen(1, 7, told)).collect();
    let other = test.listen(1, 8, told);
    for id in [1, 3] {
        let user_id = if id == 3 { 8 } else { 7 };
        test.tailnet.put(Node {
            name: "other".to_owned(),
            user_id,
            ..node(id)
        });
        let (view, changes) = test.tailnet.replica.publish().expect("something differs");
        let difference = Arc::new(Difference::find(&view, &changes));
        let looking = test.history.publish_view(view, difference);
        assert_eq!(looking, if id == 3 { 1 } else { 3 });
    }
    assert!(!wakes[0].has_changed().expect("open"));
    assert!(test.history.wake_some(1), "the other user's are left");
    assert!(wakes[0].has_changed().expect("open") && !other.has_changed().expect("open"));
    assert_eq!(wakes[0].borrow_and_update().now, told.next());
    assert!(!test.history.wake_some(1));
    assert!(other.has_changed().expect("open"));
}

#[test]
fn users_devices_of_other_classes_look_again_too() {
    let mut test = history_of_own_devices();
    let tailnet = &mut test.tailnet;
    let mut update = own_devices_policy(tailnet);
    let apart = Class {
        id: 2,
        ..update.classes[0].clone()
    };
    update.classes.push(apart);
    update.memberships[1].class_id = 2;
    tailnet.replica.apply_compiled(vec![update]);
    test.publish();
    let told = test.history.view().generation;
    let (same, other) = (test.listen(1, 7, told), test.listen(1, 8, told));
    test.rename(1);
    assert!(same.has_changed().expect("open") && !other.has_changed().expect("open"));
}
