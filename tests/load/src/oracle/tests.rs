use bowline_clock::{Clock as _, SystemClock};
use bowline_control_wire::{FilterRule, MapResponse, Node, PeerChange, PortRange};
use bowline_keys::NodePublic;

use super::*;
use crate::access_plan::AccessPlan;

/// Two nodes of the second person and one of the third, all online.
fn roster() -> Roster {
    let node = |id: u8, person| RosterNode {
        id: id.into(),
        person,
        key: NodePublic::from_bytes([id; 32]),
        disco: None,
        addresses: [
            Ipv4Addr::new(100, 64, 0, id).into(),
            Ipv6Addr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, id]).into(),
        ],
        endpoint: None,
        standing: Standing::Present,
        presence: Presence::Online,
    };
    let mut roster = Roster::default();
    let faults = roster.extend(vec![node(1, 1), node(2, 1), node(3, 2)]);
    assert!(faults.is_empty(), "{faults:?}");
    roster
}

fn told(node: &RosterNode) -> Node {
    Node {
        id: node.id,
        key: node.key,
        addresses: node
            .addresses
            .iter()
            .map(|one| IpNet::from(*one).to_string())
            .collect(),
        online: Some(true),
        machine_authorized: true,
        ..Node::default()
    }
}

/// Lets the first node in from addresses at ports.
fn filter(sources: &[&str], last: u16) -> FilterRule {
    FilterRule {
        src_ips: sources.iter().map(ToString::to_string).collect(),
        dst_ports: vec![NetPortRange {
            ip: "*".to_owned(),
            ports: PortRange { first: 0, last },
            ..NetPortRange::default()
        }],
        ..FilterRule::default()
    }
}

/// Returns the first message of the first node, where people reach their own devices.
fn first_message(roster: &Roster) -> MapResponse {
    let nodes = roster.nodes();
    let rules = vec![filter(&["100.64.0.1-100.64.0.2", "fd00::2/128"], u16::MAX)];
    MapResponse {
        node: Some(told(&nodes[0])),
        peers: vec![told(&nodes[1])],
        packet_filters: BTreeMap::from([("base".to_owned(), Some(rules))]),
        ..MapResponse::default()
    }
}

/// Returns the faults of the first node's view after a message, or of an exact view for `None`.
fn faults_after(message: Option<MapResponse>) -> Vec<String> {
    let (roster, table) = (roster(), AccessPlan::scoped(3).table());
    let mut view = NodeView::default();
    view.apply(first_message(&roster));
    message.map(|message| view.apply(message));
    check_view(&roster, &table, 0, &view)
}

#[test]
fn exact_view_has_no_fault() {
    assert_eq!(faults_after(None), Vec::<String>::new());
}

#[test]
fn every_kind_of_wrong_view_is_noticed() {
    let roster = roster();
    let changed = |change: fn(&mut Node)| {
        let mut peer = told(&roster.nodes()[1]);
        change(&mut peer);
        MapResponse {
            peers_changed: vec![peer],
            ..MapResponse::default()
        }
    };
    let with_filter = |rule| MapResponse {
        packet_filters: BTreeMap::from([("more".to_owned(), Some(vec![rule]))]),
        ..MapResponse::default()
    };
    let patch = PeerChange {
        node_id: 9,
        ..PeerChange::default()
    };
    let wrong = [
        (
            "a peer is missing",
            MapResponse {
                peers_removed: vec![2],
                ..MapResponse::default()
            },
        ),
        (
            "a stranger is a peer",
            MapResponse {
                peers_changed: vec![told(&roster.nodes()[2])],
                ..MapResponse::default()
            },
        ),
        (
            "another key",
            changed(|peer| peer.key = NodePublic::from_bytes([9; 32])),
        ),
        (
            "another address",
            changed(|peer| peer.addresses[0] = "100.64.0.9/32".to_owned()),
        ),
        ("offline", changed(|peer| peer.online = Some(false))),
        (
            "an endpoint of nobody",
            changed(|peer| peer.endpoints = vec!["192.0.2.1:1".to_owned()]),
        ),
        (
            "a route",
            changed(|peer| peer.allowed_ips = vec!["10.0.0.0/8".to_owned()]),
        ),
        ("an ended key", changed(|peer| peer.expired = true)),
        (
            "a change of a stranger",
            MapResponse {
                peers_changed_patch: vec![patch],
                ..MapResponse::default()
            },
        ),
        (
            "a stranger is let in",
            with_filter(filter(&["100.64.0.3"], 0)),
        ),
        (
            "a stranger is let in by IPv6",
            with_filter(filter(&["fd00::/64"], 0)),
        ),
        (
            "nobody is let in",
            MapResponse {
                packet_filters: BTreeMap::from([("*".to_owned(), None)]),
                ..MapResponse::default()
            },
        ),
    ];
    for (what, message) in wrong {
        assert_ne!(faults_after(Some(message)), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn revoked_peer_that_is_still_known_is_a_fault() {
    let (mut roster, table) = (roster(), AccessPlan::scoped(3).table());
    let mut view = NodeView::default();
    view.apply(first_message(&roster));
    roster.node_mut(1).standing = Standing::Revoked;
    let faults = check_view(&roster, &table, 0, &view);
    assert!(
        faults.iter().any(|fault| fault.contains("knows 2")),
        "{faults:?}"
    );
}

#[test]
fn peer_whose_key_has_ended_may_be_known_as_such() {
    let (mut roster, table) = (roster(), AccessPlan::scoped(3).table());
    let mut view = NodeView::default();
    view.apply(first_message(&roster));
    roster.node_mut(1).standing = Standing::Ended;
    let faults = check_view(&roster, &table, 0, &view);
    assert!(
        faults.iter().any(|fault| fault.contains("knows 2")),
        "{faults:?}"
    );
    let change = PeerChange {
        node_id: 2,
        key_expiry: Some(SystemClock.now()),
        ..PeerChange::default()
    };
    let heard = view.apply(MapResponse {
        peers_changed_patch: vec![change],
        ..MapResponse::default()
    });
    assert!(heard.iter().all(|heard| heard.is_end), "{heard:?}");
    assert_eq!(check_view(&roster, &table, 0, &view), Vec::<String>::new());
}

#[test]
fn two_nodes_with_one_address_are_a_fault() {
    let mut nodes = roster().nodes().to_vec();
    nodes[1].addresses[0] = nodes[0].addresses[0];
    assert_eq!(
        Roster::default().extend(nodes),
        ["two nodes have the address 100.64.0.1"]
    );
}
