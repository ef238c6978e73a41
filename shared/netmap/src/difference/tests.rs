use bowline_proto::{
    identity::v1::identity_change, key_registry::v1::ClientReport, policy::v1::Class,
};

use super::*;
use crate::fixture::{TestTailnet, compiled, node, node_id, user};

/// Says whether node 1 is told the same as its class of what happens to node 2, a device of the same user.
fn tells_alike(limit: impl FnOnce(&mut Class), happen: impl FnOnce(&mut TestTailnet)) -> bool {
    let mut lab = TestTailnet::published();
    let mut policy = compiled(lab.revision, &[1, 2], true);
    limit(&mut policy.classes[0]);
    lab.replica.apply_compiled(vec![policy]);
    lab.publish();
    happen(&mut lab);
    let changes = lab.publish();
    let difference = Difference::find(&lab.view, &changes);
    assert!(changes.nodes.contains_key(&node_id(2)));
    difference.tells_class_alike(&lab.view, &lab.view.nodes[&node_id(1)])
}

fn report(lab: &mut TestTailnet) {
    let report = ClientReport {
        disco_key: vec![9; 32],
        ..ClientReport::default()
    };
    lab.replica.apply_report(node_id(2), report);
}

#[test]
fn report_of_a_device_is_told_to_its_user_s_others_as_to_all_of_a_class_that_sees_it() {
    assert!(tells_alike(|_| {}, report));
}

#[test]
fn report_of_a_device_that_only_its_user_s_see_is_told_to_these_alone() {
    let sees_own = |class: &mut Class| {
        class.sees.clear();
        class.sees_own = true;
    };
    assert!(!tells_alike(sees_own, report));
}

#[test]
fn device_that_changes_hands_may_be_told_to_its_user_s_others_in_a_way_of_their_own() {
    assert!(!tells_alike(
        |_| {},
        |lab| {
            lab.identity(identity_change::Change::User(user(8)));
            lab.publish();
            let mut given = node(2);
            given.user_id = 8;
            lab.put(given);
            lab.compile(&[1, 2]);
        }
    ));
}
