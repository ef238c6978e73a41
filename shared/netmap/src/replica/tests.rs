//! What the three logs say in any order, and what of it may be shown.

use bowline_proto::{
    identity::v1::{IdentitySnapshot, Role, User, identity_change::Change},
    key_registry::v1::{ClientReport, Endpoint, Presence, SoftState, TaggedBy},
};

use super::*;
use crate::fixture::{TestTailnet, compiled, node, node_id, user};

fn offered(lab: &TestTailnet) -> Vec<u64> {
    let nodes = lab.view.nodes.iter();
    let offered = nodes.filter(|(_, shown)| shown.offered);
    offered.map(|(id, _)| id.get()).collect()
}

#[test]
fn node_is_offered_only_once_its_user_is_known_not_to_be_suspended() {
    for suspended in [false, true] {
        let mut lab = TestTailnet::published();
        lab.put(Node {
            user_id: 8,
            ..node(3)
        });
        lab.compile(&[1, 2, 3]);
        lab.publish();
        assert_eq!(offered(&lab), [1, 2], "nobody knows its user");
        lab.identity(Change::User(User {
            suspended,
            ..user(8)
        }));
        lab.publish();
        assert_eq!(offered(&lab).contains(&3), !suspended);
    }
}

#[test]
fn node_whose_user_the_compiler_knows_first_is_not_shown_without_it() {
    for is_user_left in [true, false] {
        let mut lab = TestTailnet::published();
        lab.put(Node {
            user_id: 8,
            ..node(3)
        });
        let mut update = compiled(lab.revision, &[1, 2, 3], true);
        update.stamp.as_mut().unwrap().identity_revision = 2;
        lab.replica.apply_compiled(vec![update]);
        lab.publish();
        assert!(!lab.view.nodes.contains_key(&node_id(3)));
        let change = match is_user_left {
            true => Change::User(user(8)),
            false => Change::UserDeleted(8),
        };
        lab.identity(change);
        lab.publish();
        assert_eq!(lab.view.nodes[&node_id(3)].offered, is_user_left);
    }
}

#[test]
fn what_a_node_waits_for_is_known_until_it_is_shown() {
    let mut lab = TestTailnet::published();
    assert!(lab.replica.list_waiting_nodes().is_empty());
    lab.put(Node {
        user_id: 8,
        ..node(3)
    });
    let new = WaitingNode {
        changed_at: lab.revision,
        waits_for: AwaitedPart::Class,
    };
    lab.put(Node {
        tags: vec!["tag:web".to_owned()],
        ..node(2)
    });
    let changed = WaitingNode {
        changed_at: lab.revision,
        waits_for: AwaitedPart::Class,
    };
    lab.publish();
    let waiting = lab.replica.list_waiting_nodes();
    let both = BTreeMap::from([(node_id(2), changed), (node_id(3), new)]);
    assert_eq!(waiting, both);
    let mut update = compiled(lab.revision, &[1, 2, 3], true);
    update.stamp.as_mut().unwrap().identity_revision = 2;
    lab.replica.apply_compiled(vec![update]);
    lab.publish();
    let waits_for = AwaitedPart::User;
    let waiting = lab.replica.list_waiting_nodes();
    let only = BTreeMap::from([(node_id(3), WaitingNode { waits_for, ..new })]);
    assert_eq!(waiting, only);
    lab.identity(Change::User(user(8)));
    lab.publish();
    assert!(lab.replica.list_waiting_nodes().is_empty());
    assert!(offered(&lab).contains(&3));
}

#[test]
fn deleted_user_takes_the_suspension_along_with_the_nodes() {
    let mut lab = TestTailnet::published();
    lab.identity(Change::User(User {
        suspended: true,
        ..user(7)
    }));
    lab.publish();
    assert!(offered(&lab).is_empty());
    lab.identity(Change::UserDeleted(7));
    lab.publish();
    assert!(offered(&lab).is_empty(), "its nodes are still there");
    lab.identity(Change::User(user(7)));
    lab.publish();
    assert_eq!(offered(&lab), [1, 2]);
}

#[test]
fn node_that_its_user_tagged_goes_with_the_user_until_an_administrator_confirms_the_tags() {
    let mut lab = TestTailnet::published();
    let tagged = |by: TaggedBy| Node {
        tags: vec!["tag:web".to_owned()],
        tagged_by: by.into(),
        ..node(2)
    };
    lab.identity(Change::User(User {
        suspended: true,
        ..user(7)
    }));
    for (by, is_offered) in [
        (TaggedBy::User, false),
        (TaggedBy::Unspecified, false),
        (TaggedBy::PreAuthKey, true),
        (TaggedBy::User, false),
        (TaggedBy::Administrator, true),
    ] {
        lab.put(tagged(by));
        lab.compile(&[1, 2]);
        lab.publish();
        assert_eq!(offered(&lab).contains(&2), is_offered, "{by:?}");
    }
    lab.put(tagged(TaggedBy::User));
    lab.identity(Change::UserDeleted(7));
    lab.publish();
    assert!(!offered(&lab).contains(&2), "its user is gone");
}

#[test]
fn suspension_of_whoever_a_node_belongs_to_now_waits_for_no_class() {
    let mut lab = TestTailnet::published();
    lab.put(Node {
        tags: vec!["tag:web".to_owned()],
        tagged_by: TaggedBy::Administrator.into(),
        ..node(2)
    });
    lab.compile(&[1, 2]);
    // Its user has logged in on it without tags, and its class is not computed yet.
    lab.put(node(2));
    lab.publish();
    assert!(offered(&lab).contains(&2));
    assert!(!lab.view.nodes[&node_id(2)].node.tags.is_empty());
    for suspended in [true, false] {
        lab.identity(Change::User(User {
            suspended,
            ..user(7)
        }));
        lab.publish();
        assert_eq!(offered(&lab).contains(&2), !suspended);
    }
}

#[test]
fn nodes_of_a_merged_user_stay_shown_and_go_with_who_stays() {
    let merged = |suspended| User {
        former_ids: vec![7],
        suspended,
        ..user(8)
    };
    for is_whole in [false, true] {
        let mut lab = TestTailnet::published();
        match is_whole {
            // Nobody is left who has the number of the nodes' user.
            true => lab.replica.apply_identity_snapshot(vec![IdentitySnapshot {
                revision: 3,
                tailnet: Some(lab.view.tailnet.as_ref().clone()),
                users: vec![merged(false)],
                last: true,
                ..IdentitySnapshot::default()
            }]),
            false => lab.identity(Change::User(merged(false))),
        }
        lab.publish();
        assert_eq!(offered(&lab), [1, 2], "the registry has moved none yet");
        for (change, left) in [
            (Change::User(merged(true)), &[][..]),
            (Change::User(merged(false)), &[1, 2]),
        ] {
            lab.identity(change);
            lab.publish();
            assert_eq!(offered(&lab), left);
        }
        lab.put(Node {
            user_id: 8,
            ..node(1)
        });
        lab.compile(&[1, 2]);
        lab.publish();
        assert_eq!(offered(&lab), [1, 2]);
        lab.identity(Change::UserDeleted(8));
        lab.publish();
        assert!(offered(&lab).is_empty());
    }
}

#[test]
fn tagged_node_needs_no_user() {
    let mut lab = TestTailnet::published();
    lab.put(Node {
        user_id: 0,
        tags: vec!["tag:web".to_owned()],
        ..node(3)
    });
    lab.compile(&[1, 2, 3]);
    lab.publish();
    assert_eq!(offered(&lab), [1, 2, 3]);
}

#[test]
fn nobody_of_a_deleted_tailnet_is_shown() {
    let mut lab = TestTailnet::published();
    lab.identity(Change::TailnetDeleted(true));
    lab.publish();
    assert!(lab.view.nodes.is_empty() && !lab.replica.is_complete());
    lab.put(node(3));
    lab.compile(&[1, 2, 3]);
    lab.publish();
    assert!(
        lab.view.nodes.is_empty(),
        "whatever the registry still says"
    );
}

#[test]
fn log_of_a_tailnet_that_is_gone_is_not_complete() {
    let mut lab = TestTailnet::published();
    assert!(lab.replica.is_complete());
    lab.replica.apply_identity_snapshot(vec![IdentitySnapshot {
        revision: 9,
        tailnet: None,
        users: vec![],
        last: true,
        ..IdentitySnapshot::default()
    }]);
    lab.publish();
    assert!(lab.view.nodes.is_empty() && !lab.replica.is_complete());
}

#[test]
fn node_that_waits_keeps_a_class_and_settings_the_policy_has_no_more() {
    let mut lab = TestTailnet::published();
    lab.put(Node {
        tags: vec!["tag:web".to_owned()],
        ..node(2)
    });
    let mut update = compiled(2, &[1, 2], true);
    update.classes[0].id = 11;
    update.settings[0].id = 13;
    for member in &mut update.memberships {
        (member.class_id, member.settings_id) = (11, 13);
    }
    // Computed before the node had its tag: its new facts and this class do not belong together.
    lab.replica.apply_compiled(vec![update.clone()]);
    lab.publish();
    let shown = &lab.view.nodes[&node_id(2)];
    assert_eq!((shown.class, shown.settings), (ClassId(1), SettingsId(3)));
    assert!(
        lab.view.compiled.classes.contains_key(&ClassId(1))
            && lab.view.compiled.settings.contains_key(&SettingsId(3))
    );
    let peers = lab.full(2).map(|message| message.peers.len());
    assert_eq!(peers, Some(1), "its session goes on");
    update.stamp = compiled(lab.revision, &[], false).stamp;
    lab.replica.apply_compiled(vec![update]);
    lab.publish();
    assert_eq!(lab.view.nodes[&node_id(2)].class, ClassId(11));
    assert!(
        !lab.view.compiled.classes.contains_key(&ClassId(1))
            && !lab.view.compiled.settings.contains_key(&SettingsId(3))
    );
}

#[test]
fn class_that_comes_back_stays() {
    let mut lab = TestTailnet::published();
    lab.put(Node {
        tags: vec!["tag:web".to_owned()],
        ..node(2)
    });
    let mut without = compiled(2, &[1, 2], true);
    without.classes.clear();
    lab.replica.apply_compiled(vec![without]);
    lab.compile(&[1, 2]);
    lab.publish();
    lab.delete(1);
    lab.delete(2);
    lab.publish();
    assert!(lab.view.compiled.classes.contains_key(&ClassId(1)));
}

#[test]
fn changes_nobody_can_see_make_no_view() {
    let mut lab = TestTailnet::published();
    let presence = Presence {
        epoch: 4,
        gateway: "elsewhere".to_owned(),
    };
    lab.replica.apply_soft_states(vec![SoftState {
        node_id: 2,
        soft_revision: 8,
        hostinfo: br#"{"OSVersion":"6.1","NetInfo":{"DERPLatency":{"1-v4":0.25}}}"#.to_vec(),
        presence: Some(presence),
        ..SoftState::default()
    }]);
    lab.put(Node {
        client_version: "1.90.1".to_owned(),
        ..node(2)
    });
    lab.compile(&[1, 2]);
    lab.identity(Change::User(User {
        role: Role::Admin.into(),
        groups: vec!["eng".to_owned()],
        ..user(7)
    }));
    assert_eq!(*lab.publish(), ChangeSet::default());
    assert_eq!(lab.replica.take_presences(), [(node_id(2), 4)].into());
}

fn soft(id: u64, soft_revision: u64, address: &str) -> SoftState {
    SoftState {
        node_id: id,
        soft_revision,
        online: true,
        endpoints: vec![endpoint(address)],
        ..SoftState::default()
    }
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        address: address.to_owned(),
        kind: 0,
    }
}

fn address(lab: &mut TestTailnet, id: u64) -> String {
    lab.publish();
    lab.view.nodes[&node_id(id)].soft.endpoints[0]
        .address
        .clone()
}

#[test]
fn soft_state_that_comes_before_its_node_is_shown_with_it() {
    let mut lab = TestTailnet::published();
    lab.replica
        .apply_soft_states(vec![soft(3, 7, "192.0.2.3:1")]);
    lab.put(node(3));
    lab.compile(&[1, 2, 3]);
    assert_eq!(address(&mut lab, 3), "192.0.2.3:1");
    // What is gone takes its own along, and a snapshot has everything.
    lab.replica
        .apply_soft_states(vec![soft(4, 8, "192.0.2.4:1")]);
    lab.delete(4);
    lab.put(node(4));
    lab.compile(&[1, 2, 3, 4]);
    lab.publish();
    assert_eq!(lab.view.nodes[&node_id(4)].soft.endpoints, []);
}

#[test]
fn report_that_is_older_than_what_counts_hides_nothing() {
    let mut lab = TestTailnet::published();
    let report = |sequence, address: &str| ClientReport {
        sequence,
        endpoints: vec![endpoint(address)],
        ..ClientReport::default()
    };
    // The registry can not be reached, and the node goes on to another gateway, which can reach it.
    lab.replica
        .apply_report(node_id(2), report(1, "192.0.2.1:1"));
    lab.replica
        .apply_soft_states(vec![soft(2, 50, "192.0.2.2:2")]);
    lab.replica.note_report_accepted(node_id(2), 1, None);
    assert_eq!(address(&mut lab, 2), "192.0.2.2:2");
    // One that counts is shown until its own row has come, however old the rows before it are.
    lab.replica
        .apply_report(node_id(2), report(2, "192.0.2.3:3"));
    lab.replica.note_report_accepted(node_id(2), 2, Some(52));
    lab.replica
        .apply_soft_states(vec![soft(2, 51, "192.0.2.2:2")]);
    assert_eq!(address(&mut lab, 2), "192.0.2.3:3");
    lab.replica
        .apply_soft_states(vec![soft(2, 53, "192.0.2.4:4")]);
    assert_eq!(address(&mut lab, 2), "192.0.2.4:4");
    // One whose row came first is not put over what has come since.
    lab.replica
        .apply_report(node_id(2), report(3, "192.0.2.5:5"));
    lab.replica
        .apply_soft_states(vec![soft(2, 55, "192.0.2.6:6")]);
    lab.replica.note_report_accepted(node_id(2), 3, Some(54));
    assert_eq!(address(&mut lab, 2), "192.0.2.6:6");
}

#[test]
fn nodes_that_swap_addresses_are_both_found_by_them() {
    let mut lab = TestTailnet::published();
    for (id, address) in [(1, "100.64.0.2"), (2, "100.64.0.1")] {
        lab.put(Node {
            ipv4: address.to_owned(),
            ..node(id)
        });
    }
    lab.compile(&[1, 2]);
    lab.publish();
    let found = |address: &str| lab.view.node_by_address.get(address).copied();
    assert_eq!(found("100.64.0.2"), Some(node_id(1)));
    assert_eq!(found("100.64.0.1"), Some(node_id(2)));
}
