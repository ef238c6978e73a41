use bowline_proto::{
    key_registry::v1::{ClientReport, HostReport, Node},
    policy::v1::{Class, Membership},
};

use crate::{
    Difference,
    fixture::{TestTailnet, compiled, node, node_id},
};

const NODES: [u64; 4] = [1, 2, 3, 4];

/// Returns what differs after something happened to a tailnet of four nodes of one class.
fn find(happen: impl FnOnce(&mut TestTailnet)) -> Difference {
    let mut lab = TestTailnet::published();
    lab.put(node(3));
    lab.put(Node {
        advertised_routes: vec!["10.0.0.0/24".to_owned()],
        approved_routes: vec!["10.0.0.0/24".to_owned()],
        ..node(4)
    });
    lab.compile(&NODES);
    lab.publish();
    happen(&mut lab);
    let changes = lab.publish();
    Difference::find(&lab.view, &changes)
}

fn groups(difference: &Difference) -> Vec<Vec<u64>> {
    let groups = difference.peers.groups().values();
    groups
        .map(|group| group.nodes().map(|id| id.get()).collect())
        .collect()
}

#[test]
fn nodes_that_a_rule_moves_to_another_class_are_one_group_but_for_routers() {
    let difference = find(|lab| {
        let mut policy = compiled(lab.revision, &NODES, true);
        policy.classes.push(Class {
            id: 2,
            ..policy.classes[0].clone()
        });
        policy.memberships = NODES
            .map(|id| Membership {
                node_id: id,
                class_id: if id == 1 { 1 } else { 2 },
                settings_id: 3,
            })
            .to_vec();
        lab.replica.apply_compiled(vec![policy]);
    });
    assert_eq!(groups(&difference), [vec![2, 3]]);
    assert!(difference.peers.alone().contains(&node_id(4)));
}

#[test]
fn node_that_a_patch_can_not_tell_stands_alone() {
    let report = |report: ClientReport| {
        find(|lab| {
            lab.replica.apply_report(node_id(2), report.clone());
            lab.replica.apply_report(node_id(3), report);
        })
    };
    let keys = report(ClientReport {
        disco_key: vec![9; 32],
        ..ClientReport::default()
    });
    assert_eq!(groups(&keys), [vec![2, 3]]);
    assert!(keys.peers.alone().is_empty());
    let hosts = report(ClientReport {
        host: Some(HostReport {
            hostinfo: br#"{"Services":[{"Proto":"peerapi4","Port":80}]}"#.to_vec(),
            ..HostReport::default()
        }),
        ..ClientReport::default()
    });
    assert!(hosts.peers.groups().is_empty());
    assert_eq!(hosts.peers.alone().len(), 2);
}
