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
        let difference = Difference::find(&view, &changes);
        self.history.publish_view(view, Arc::new(difference));
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
    let (_, since) = stage.history.difference_since(Generation(1));
    assert!(Arc::ptr_eq(since.expect("kept").changes(), &first));
    stage.rename(2);
    let (view, since) = stage.history.difference_since(Generation(1));
    let since = since.expect("kept");
    assert_eq!(since.changes().nodes, first.nodes);
    let (_, again) = stage.history.difference_since(Generation(1));
    assert!(
        Arc::ptr_eq(&since, &again.expect("kept")),
        "found once for all"
    );
    assert_eq!(view.generation, Generation(3));
}

#[test]
fn changes_are_kept_within_a_number_and_a_budget_of_bytes() {
    let mut stage = Stage::new();
    (0..=KEPT).for_each(|round| drop(stage.rename(round)));
    let newest = stage.history.view().generation;
    assert!(
        stage
            .history
            .difference_since(Generation(newest.0 - KEPT as u64))
            .1
            .is_some()
    );
    assert!(
        stage
            .history
            .difference_since(Generation(newest.0 - KEPT as u64 - 1))
            .1
            .is_none()
    );
    let mut update = compiled(stage.lab.revision, &[1, 2], false);
    let elements = (0..BUDGET / 64).map(|number| format!("10.{number}.0.0/16"));
    update.source_lists[0].added = elements.collect();
    stage.lab.replica.apply_compiled(vec![update]);
    stage.publish();
    assert!(
        stage.history.difference_since(newest).1.is_none(),
        "one that is too large is not kept"
    );
    stage.rename(0);
    assert!(stage.history.difference_since(newest.next()).1.is_some());
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
        stage.history.listen_to_class(ClassId(2), told),
        stage.history.listen_to_class(ClassId(1), told),
    );
    let named = User {
        display_name: "Somebody".to_owned(),
        ..user(8)
    };
    stage.lab.identity(Change::User(named));
    stage.publish();
    assert!(own.has_changed().expect("open") && !other.has_changed().expect("open"));
}
