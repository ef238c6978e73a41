//! Worked cases on small views: what is told first, and what after each kind of change.

use std::sync::Arc;

use bowline_control_wire::{DerpMap, MapResponse};
use bowline_proto::{
    identity::v1::{IdentityChange, IdentitySnapshot, Tailnet, User, identity_change},
    key_registry::v1::{
        ClientReport, Endpoint, Node, RegistryChange, RegistrySnapshot, SoftState, registry_change,
    },
    policy::v1::{
        Class, CompiledUpdate, Destination, FilterRule, Membership, Settings, SourceListChange,
        Stamp, destination::Address,
    },
};
use chrono::DateTime;

use super::{Delta, delta, full};
use crate::tailnet::{ChangeSet, Replica, View};

/// Two nodes of one user in one class that sees itself.
struct Tailnet2 {
    replica: Replica,
    revision: u64,
    view: Arc<View>,
}

fn node(id: u64) -> Node {
    Node {
        id,
        tailnet_id: 1,
        user_id: 7,
        machine_key: vec![id as u8; 32],
        node_key: vec![100 + id as u8; 32],
        name: format!("n{id}"),
        ipv4: format!("100.64.0.{id}"),
        ipv6: format!("fd7a:115c:a1e0::{id}"),
        approved: true,
        ..Node::default()
    }
}

fn compiled(revision: u64, members: &[u64], full: bool) -> CompiledUpdate {
    let rule = FilterRule {
        source_list_id: 5,
        destinations: vec![Destination {
            address: Some(Address::Own(true)),
            first_port: 22,
            last_port: 22,
        }],
        ..FilterRule::default()
    };
    let addresses = members.iter().map(|id| format!("100.64.0.{id}")).collect();
    CompiledUpdate {
        stamp: Some(Stamp {
            registry_revision: revision,
            identity_revision: 1,
            policy_version: 0,
        }),
        full,
        classes: vec![Class {
            id: 1,
            selectors: vec![7],
            sees: vec![7],
            filter: vec![rule],
            ..Class::default()
        }],
        settings: vec![Settings {
            id: 3,
            ..Settings::default()
        }],
        source_lists: vec![SourceListChange {
            id: 5,
            added: addresses,
            ..SourceListChange::default()
        }],
        memberships: members
            .iter()
            .map(|id| Membership {
                node_id: *id,
                class_id: 1,
                settings_id: 3,
            })
            .collect(),
        last: true,
        ..CompiledUpdate::default()
    }
}

impl Tailnet2 {
    fn new() -> Self {
        let mut replica = Replica::default();
        let tailnet = Tailnet {
            id: 1,
            name: "home".to_owned(),
            magic_dns_suffix: "home.test".to_owned(),
            ..Tailnet::default()
        };
        let user = User {
            id: 7,
            login_name: "amira@example.com".to_owned(),
            ..User::default()
        };
        replica.identity_snapshot(vec![IdentitySnapshot {
            revision: 1,
            tailnet: Some(tailnet),
            users: vec![user],
            last: true,
        }]);
        replica.registry_snapshot(vec![RegistrySnapshot {
            revision: 2,
            nodes: vec![node(1), node(2)],
            soft: vec![SoftState::default(), SoftState::default()],
            last: true,
            ..RegistrySnapshot::default()
        }]);
        replica.compiled(vec![compiled(2, &[1, 2], true)]);
        let (view, _) = replica.publish().expect("the first view");
        Self {
            replica,
            revision: 2,
            view,
        }
    }

    fn put(&mut self, node: Node) {
        let change = Some(registry_change::Change::Node(node));
        self.replica
            .registry_changes(vec![RegistryChange { change }], self.revision);
        self.revision += 1;
    }

    /// Publishes and returns what differs; nothing when nothing does.
    fn publish(&mut self) -> Arc<ChangeSet> {
        match self.replica.publish() {
            Some((view, changes)) => {
                self.view = view;
                changes
            }
            None => Arc::default(),
        }
    }

    /// Returns what node 1 is told next.
    fn told(&mut self) -> Delta {
        let changes = self.publish();
        delta(&self.view, &changes, 1, DateTime::UNIX_EPOCH)
    }

    fn message(&mut self) -> MapResponse {
        match self.told() {
            Delta::Message(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    fn full(&self, id: u64) -> Option<MapResponse> {
        full(&self.view, id, &DerpMap::default(), DateTime::UNIX_EPOCH)
    }
}

#[test]
fn first_message_has_everything_and_never_oneself_among_peers() {
    let tailnet = Tailnet2::new();
    let message = tailnet.full(1).expect("shown");
    assert_eq!(
        message.node.as_ref().map(|node| node.name.as_str()),
        Some("n1.home.test.")
    );
    assert_eq!(
        message.peers.iter().map(|peer| peer.id).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(message.user_profiles[0].login_name, "amira@example.com");
    let rules: Vec<_> = message
        .packet_filters
        .values()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(rules.len(), 1);
    assert_eq!(
        rules[0].dst_ports[0].ip, "100.64.0.1",
        "only the node's own addresses"
    );
    assert!(message.debug.is_some_and(|debug| debug.disable_log_tail));
}

#[test]
fn report_reaches_peers_as_a_patch_and_not_oneself() {
    let mut tailnet = Tailnet2::new();
    let endpoints = vec![Endpoint {
        address: "10.0.0.2:41641".to_owned(),
        kind: 1,
    }];
    let report = ClientReport {
        endpoints,
        home_derp: 900,
        ..ClientReport::default()
    };
    tailnet.replica.report(2, report.clone());
    let message = tailnet.message();
    assert!(message.peers_changed.is_empty() && message.packet_filters.is_empty());
    assert_eq!(message.peers_changed_patch[0].endpoints, ["10.0.0.2:41641"]);
    assert_eq!(message.peers_changed_patch[0].derp_region, 900);
    tailnet.replica.report(1, report);
    assert!(matches!(tailnet.told(), Delta::Nothing));
}

#[test]
fn new_node_is_shown_only_with_a_class_computed_from_it() {
    let mut tailnet = Tailnet2::new();
    tailnet.put(node(3));
    assert!(matches!(tailnet.told(), Delta::Nothing));
    assert!(tailnet.full(3).is_none());
    tailnet
        .replica
        .compiled(vec![compiled(tailnet.revision, &[1, 2, 3], true)]);
    let message = tailnet.message();
    assert_eq!(
        message
            .peers_changed
            .iter()
            .map(|peer| peer.id)
            .collect::<Vec<_>>(),
        [3]
    );
    assert!(
        !message.packet_filters.is_empty(),
        "the new node is a source now"
    );
}

#[test]
fn ends_need_no_compiler() {
    for end in [
        Node {
            expired: true,
            ..node(2)
        },
        Node {
            approved: false,
            ..node(2)
        },
    ] {
        let mut tailnet = Tailnet2::new();
        tailnet.put(end);
        assert_eq!(tailnet.message().peers_removed, [2]);
        let itself = tailnet.full(2).expect("told of itself");
        assert!(itself.peers.is_empty() && itself.ssh_policy.is_none());
    }
    let mut tailnet = Tailnet2::new();
    let change = Some(registry_change::Change::NodeDeleted(2));
    tailnet
        .replica
        .registry_changes(vec![RegistryChange { change }], 2);
    assert_eq!(tailnet.message().peers_removed, [2]);
    assert!(tailnet.full(2).is_none());
}

#[test]
fn suspended_user_is_cut_off_at_once_and_comes_back() {
    let mut tailnet = Tailnet2::new();
    let user = |suspended| {
        let user = User {
            id: 7,
            login_name: "amira@example.com".to_owned(),
            suspended,
            ..User::default()
        };
        IdentityChange {
            change: Some(identity_change::Change::User(user)),
        }
    };
    tailnet.replica.identity_changes(vec![user(true)], 2);
    assert!(matches!(tailnet.told(), Delta::Ended));
    tailnet.replica.identity_changes(vec![user(false)], 3);
    assert!(matches!(tailnet.told(), Delta::Full));
}

#[test]
fn own_end_ends_the_stream() {
    let mut tailnet = Tailnet2::new();
    tailnet.put(Node {
        expired: true,
        ..node(1)
    });
    assert!(matches!(tailnet.told(), Delta::Ended));
    let last = tailnet
        .full(1)
        .and_then(|message| message.node)
        .expect("told of itself");
    assert!(
        last.key_expiry.is_some_and(|end| end.timestamp() <= 123),
        "the client wants a login"
    );
}

#[test]
fn rotated_key_reaches_peers_as_a_patch_at_once() {
    let mut tailnet = Tailnet2::new();
    tailnet.put(Node {
        node_key: vec![9; 32],
        ..node(2)
    });
    let message = tailnet.message();
    let key = message.peers_changed_patch[0].key.expect("the new key");
    assert_eq!(key.as_bytes(), &[9; 32]);
    assert!(message.peers_changed.is_empty() && message.peers_removed.is_empty());
}

#[test]
fn many_changes_meanwhile_are_one_difference() {
    let mut tailnet = Tailnet2::new();
    let mut changes = ChangeSet::default();
    for end in [true, false, true] {
        tailnet.put(Node {
            expired: end,
            ..node(2)
        });
        changes.extend(&tailnet.publish());
    }
    let told = delta(&tailnet.view, &changes, 1, DateTime::UNIX_EPOCH);
    let Delta::Message(message) = told else {
        panic!("{told:?}")
    };
    assert_eq!(
        (message.peers_removed, message.peers_changed.len()),
        (vec![2], 0)
    );
}

#[test]
fn relays_of_the_policy_come_over_the_servers_own() {
    let mut tailnet = Tailnet2::new();
    let own: DerpMap = serde_json::from_str(
        r#"{"Regions": {"1": {"RegionID": 1}, "2": {"RegionID": 2, "RegionCode": "old"}}}"#,
    )
    .expect("a map");
    let mut update = compiled(tailnet.revision, &[1, 2], false);
    let text = r#"{"Regions": {"1": null, "2": {"RegionID": 2, "RegionCode": "new"}, "900": {"RegionID": 900}}}"#;
    update.derp_map = Some(text.to_owned());
    tailnet.replica.compiled(vec![update]);
    assert!(matches!(tailnet.told(), Delta::Full));
    let message = full(&tailnet.view, 1, &own, DateTime::UNIX_EPOCH).expect("shown");
    let regions = message.derp_map.expect("told").regions;
    assert_eq!(regions.keys().copied().collect::<Vec<_>>(), [2, 900]);
    assert_eq!(regions[&2].region_code, "new");
}

#[test]
fn relays_of_the_server_that_change_are_told_to_connected_clients() {
    let mut tailnet = Tailnet2::new();
    tailnet.told();
    tailnet.replica.relays_changed();
    assert!(matches!(tailnet.told(), Delta::Full));
}
