//! A small tailnet for tests.

use std::sync::Arc;

use bowline_control_wire::{DerpMap, MapResponse};
use bowline_ids::NodeId;
use bowline_proto::{
    identity::v1::{IdentityChange, IdentitySnapshot, Tailnet, User, identity_change},
    key_registry::v1::{
        Node, RegistryChange, RegistrySnapshot, SoftState, TailnetLock, registry_change,
    },
    policy::v1::{
        Class, CompiledUpdate, Destination, FilterRule, Membership, Settings, SourceListChange,
        Stamp, destination::Address,
    },
};
use chrono::DateTime;

use crate::{
    ChangeSet, Difference, FilterSources, Replica, View,
    message::{Delta, build_delta, build_full},
};

/// Two nodes of one user in one class that sees itself, with all that was published of them.
pub struct TestTailnet {
    /// What the logs have brought.
    pub replica: Replica,
    /// The registry revision of the last entry.
    pub revision: u64,
    /// The view published last.
    pub view: Arc<View>,
}

/// Returns the number of a node.
///
/// # Panics
///
/// With zero.
#[must_use]
#[expect(clippy::expect_used, reason = "it fails the test")]
pub fn node_id(number: u64) -> NodeId {
    NodeId::try_from(number).expect("the number of a node")
}

/// Returns a node of user 7.
#[must_use]
pub fn node(id: u64) -> Node {
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

/// Returns a user that nothing is wrong with.
#[must_use]
pub fn user(id: u64) -> User {
    let login_name = match id {
        7 => "amira@example.com".to_owned(),
        _ => format!("user{id}@example.com"),
    };
    User {
        id,
        login_name,
        ..User::default()
    }
}

/// Returns output that puts nodes into one class, all of which reach each other's SSH port.
#[must_use]
pub fn compiled(revision: u64, members: &[u64], full: bool) -> CompiledUpdate {
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

impl TestTailnet {
    /// Returns the tailnet with its first view published.
    #[must_use]
    pub fn published() -> Self {
        let mut lab = Self::unpublished(FilterSources::Addresses);
        lab.publish();
        lab
    }

    /// Returns the tailnet before anything of it is published.
    #[must_use]
    pub fn unpublished(sources: FilterSources) -> Self {
        let mut replica = Replica::new(sources);
        let tailnet = Tailnet {
            id: 1,
            name: "home".to_owned(),
            magic_dns_suffix: "home.test".to_owned(),
            ..Tailnet::default()
        };
        replica.apply_identity_snapshot(vec![IdentitySnapshot {
            revision: 1,
            tailnet: Some(tailnet),
            users: vec![user(7)],
            last: true,
            ..IdentitySnapshot::default()
        }]);
        replica.apply_registry_snapshot(vec![RegistrySnapshot {
            revision: 2,
            nodes: vec![node(1), node(2)],
            soft: vec![SoftState::default(), SoftState::default()],
            last: true,
            ..RegistrySnapshot::default()
        }]);
        replica.apply_compiled(vec![compiled(2, &[1, 2], true)]);
        Self {
            replica,
            revision: 2,
            view: Arc::default(),
        }
    }

    /// Applies the registry's next entry.
    pub fn put(&mut self, node: Node) {
        self.registry(registry_change::Change::Node(node));
    }

    /// Applies the registry's next entry: a node is gone.
    pub fn delete(&mut self, node: u64) {
        self.registry(registry_change::Change::NodeDeleted(node));
    }

    fn registry(&mut self, change: registry_change::Change) {
        self.replica
            .apply_registry_changes(vec![RegistryChange::from(change)], self.revision);
        self.revision += 1;
    }

    /// Applies the registry's next entry: tailnet lock has another head, or is off where it has none.
    pub fn lock(&mut self, head: &str) {
        let lock = TailnetLock {
            head: head.to_owned(),
            disabled: head.is_empty(),
        };
        self.registry(registry_change::Change::Lock(lock));
    }

    /// Applies an entry of identity's.
    pub fn identity(&mut self, change: identity_change::Change) {
        self.replica
            .apply_identity_changes(vec![IdentityChange::from(change)], 2);
    }

    /// Applies the compiler's output for these nodes as the registry has them.
    pub fn compile(&mut self, members: &[u64]) {
        self.replica
            .apply_compiled(vec![compiled(self.revision, members, true)]);
    }

    /// Publishes and returns what differs; nothing when nothing does.
    pub fn publish(&mut self) -> Arc<ChangeSet> {
        match self.replica.publish() {
            Some((view, changes)) => {
                self.view = view;
                changes
            }
            None => Arc::default(),
        }
    }

    /// Returns what node 1 is told next.
    pub fn told(&mut self) -> Delta {
        let changes = self.publish();
        let difference = Difference::find(&self.view, &changes);
        build_delta(&self.view, &difference, node_id(1), DateTime::UNIX_EPOCH)
    }

    /// Returns the message node 1 is told next.
    ///
    /// # Panics
    ///
    /// When it is told something else than a difference.
    #[expect(clippy::panic, reason = "it fails the test")]
    pub fn message(&mut self) -> MapResponse {
        match self.told() {
            Delta::Message(message) => *message,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the first message of a node.
    #[must_use]
    pub fn full(&self, id: u64) -> Option<MapResponse> {
        let (id, relays) = (node_id(id), DerpMap::default());
        build_full(&self.view, id, &relays, DateTime::UNIX_EPOCH)
    }
}
