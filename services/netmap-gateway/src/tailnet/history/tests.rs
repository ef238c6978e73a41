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
        changes
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
    let (own, other) = (
        test.history.listen_to_class(ClassId(2), told),
        test.history.listen_to_class(ClassId(1), told),
    );
    let named = User {
        display_name: "Somebody".to_owned(),
        ..user(8)
    };
    test.tailnet.identity(Change::User(named));
    test.publish();
    assert!(own.has_changed().expect("open") && !other.has_changed().expect("open"));
}
