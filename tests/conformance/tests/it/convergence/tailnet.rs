//! A tailnet that changes, from its owners to its clients.

use std::{collections::BTreeMap, sync::Arc};

use bowline_control_wire::{CapabilityVersion, Compression, DerpMap, decode_frame};
use bowline_netmap::{
    ChangeSet, ConcernedNodes, Delta, Dialect, Difference, FilterSources, PeerBlocks, Replica,
    View, ViewerGroup, build_delta, build_full, fixture::node_id, lost_peers,
};
use bowline_policy::{Compiler, DocumentContext, Policy};
use bowline_policy_compiler::{inventory, message};
use bowline_proto::{
    identity::v1::{IdentityChange, IdentitySnapshot, Role, Tailnet, User, identity_change},
    key_registry::v1::{
        ClientReport, Endpoint, HostReport, Node, RegistryChange, RegistrySnapshot, SoftState,
        TailnetLock, registry_change,
    },
    policy::v1::Stamp,
};
use bytes::BytesMut;
use chrono::DateTime;
use prost_types::Timestamp;
use serde_json::Value;

use super::{
    client::{Client, first_difference},
    step::Step,
};

/// A tailnet as its owners, its compiler and its gateway hold it, with a client for each node.
pub(super) struct TestTailnet {
    compiler: Compiler,
    replica: Replica,
    pub(super) view: Arc<View>,
    changes: ChangeSet,
    /// The nodes that look again, `None` for all.
    woken: Option<Vec<ConcernedNodes>>,
    /// The group of each client when it looked last.
    groups: BTreeMap<u64, ViewerGroup>,
    /// Parts of first messages, kept all the time.
    blocks: PeerBlocks,
    revisions: (u64, u64),
    tailnet: Tailnet,
    pub(super) nodes: BTreeMap<u64, Node>,
    soft: BTreeMap<u64, SoftState>,
    pub(super) clients: BTreeMap<u64, Client>,
}

impl TestTailnet {
    pub(super) fn new(sources: FilterSources) -> Self {
        let mut replica = Replica::new(sources);
        let tailnet = Tailnet {
            id: 1,
            name: "t".to_owned(),
            magic_dns_suffix: "t.test".to_owned(),
            ..Tailnet::default()
        };
        let mut compiler = Compiler::new(Policy::allow_all());
        let users: Vec<_> = (1..4).map(|id| user(id, false, false, false)).collect();
        users
            .iter()
            .for_each(|user| compiler.put_user(inventory::convert_user(user, &user.groups)));
        replica.apply_identity_snapshot(vec![IdentitySnapshot {
            revision: 1,
            tailnet: Some(tailnet.clone()),
            users,
            last: true,
            ..IdentitySnapshot::default()
        }]);
        replica.apply_registry_snapshot(vec![RegistrySnapshot {
            revision: 1,
            last: true,
            ..RegistrySnapshot::default()
        }]);
        replica.apply_compiled(message::update_messages(
            &compiler.full_output(),
            stamp((1, 1)),
            true,
        ));
        compiler.take_changes();
        let (view, changes) = replica.publish().unwrap();
        let blocks = PeerBlocks::default();
        blocks.note_difference(&view, &Difference::find(&view, &changes));
        Self {
            compiler,
            replica,
            view,
            changes: ChangeSet::default(),
            woken: Some(Vec::new()),
            groups: BTreeMap::new(),
            blocks,
            revisions: (1, 1),
            tailnet,
            nodes: BTreeMap::new(),
            soft: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }

    fn change(&mut self, change: registry_change::Change) {
        let from = self.revisions.1;
        self.revisions.1 += 1;
        self.replica
            .apply_registry_changes(vec![RegistryChange::from(change)], from);
    }

    /// Changes what the registry says of a node; its signature stays.
    fn put_node(&mut self, step: Step) {
        let Step::Node {
            id,
            user,
            tags,
            routes,
            expired,
            approved,
            disabled,
        } = step
        else {
            return;
        };
        let known = self.nodes.get(&id);
        let signed = known.cloned().unwrap_or_default();
        let node = Node {
            expired,
            approved,
            disabled,
            key_signature: signed.key_signature,
            awaits_signature: signed.awaits_signature,
            ..node(id, user, tags, routes, known)
        };
        self.compiler.put_node(inventory::convert_node(&node));
        self.nodes.insert(id, node.clone());
        self.change(registry_change::Change::Node(node));
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Node { .. } => self.put_node(step),
            Step::Sign {
                id,
                signature,
                waits,
            } => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.key_signature = signature;
                    node.awaits_signature = waits;
                    let node = node.clone();
                    self.change(registry_change::Change::Node(node));
                }
            }
            Step::Lock(head) => {
                let lock = TailnetLock {
                    head: head.to_owned(),
                    disabled: head.is_empty(),
                };
                self.change(registry_change::Change::Lock(lock));
            }
            Step::Delete(id) => {
                self.nodes.remove(&id);
                self.soft.remove(&id);
                self.compiler.remove_node(id);
                self.change(registry_change::Change::NodeDeleted(id));
            }
            Step::User {
                id,
                admin,
                suspended,
                named,
            } => {
                let user = user(id, admin, suspended, named);
                self.compiler
                    .put_user(inventory::convert_user(&user, &user.groups));
                self.identity(identity_change::Change::User(user));
            }
            Step::DeleteUser(id) => {
                self.compiler.remove_user(id);
                self.identity(identity_change::Change::UserDeleted(id));
            }
            Step::Tailnet { magic_dns } => {
                let dns = self.tailnet.dns.get_or_insert_default();
                dns.magic_dns = magic_dns;
                self.identity(identity_change::Change::Tailnet(self.tailnet.clone()));
            }
            Step::Online { id, online } if self.nodes.contains_key(&id) => self.online(id, online),
            Step::Report { id, derp } if self.nodes.contains_key(&id) => self.report(id, derp),
            Step::Online { .. } | Step::Report { .. } => {}
            Step::Policy(text) => self
                .compiler
                .set_policy(Policy::parse(text, &DocumentContext::default()).unwrap()),
            Step::CompiledPolicy => self.compiled(self.revisions),
            Step::Lagging => self.compiled((self.revisions.0, self.revisions.1 - 1)),
            Step::Look => self.look(),
        }
        if let Some((view, changes)) = self.replica.publish() {
            let difference = Difference::find(&view, &changes);
            self.blocks.note_difference(&view, &difference);
            self.view = view;
            self.changes.extend(&changes);
            self.woken = match (self.woken.take(), difference.concerned_nodes(&self.view)) {
                (Some(woken), Some(more)) => Some([woken, vec![more]].concat()),
                _ => None,
            };
        }
    }

    fn online(&mut self, id: u64, online: bool) {
        let soft = self.soft.entry(id).or_insert_with(|| SoftState {
            node_id: id,
            ..SoftState::default()
        });
        soft.soft_revision += 1;
        soft.online = online;
        if !online {
            let seconds = i64::try_from(soft.soft_revision).unwrap();
            soft.last_seen = Some(Timestamp { seconds, nanos: 0 });
        }
        let soft = soft.clone();
        self.replica.apply_soft_states(vec![soft]);
    }

    fn report(&mut self, id: u64, derp: u32) {
        let endpoint = Endpoint {
            address: format!("192.0.2.{}:{derp}", id % 200),
            kind: 1,
        };
        let report = ClientReport {
            endpoints: vec![endpoint],
            host: Some(HostReport {
                home_derp: derp,
                ..HostReport::default()
            }),
            sequence: 1,
            ..ClientReport::default()
        };
        self.replica.apply_report(node_id(id), report);
    }

    fn identity(&mut self, change: identity_change::Change) {
        self.revisions.0 += 1;
        self.replica
            .apply_identity_changes(vec![IdentityChange::from(change)], self.revisions.0);
    }

    fn compiled(&mut self, revisions: (u64, u64)) {
        let changes = self.compiler.take_changes();
        let update = message::update_messages(&changes, stamp(revisions), false);
        self.replica.apply_compiled(update);
    }

    /// Every client whose group was woken is sent what differs, or everything on the stream it has; those whose stream ended
    /// are gone, new ones are told everything.
    fn look(&mut self) {
        let changes = Arc::new(std::mem::take(&mut self.changes));
        let difference = Difference::find(&self.view, &changes);
        self.compare_shared_deltas(&difference);
        let woken = self.woken.replace(Vec::new());
        let is_woken = |group: &ViewerGroup| {
            let concerned = woken.as_deref();
            concerned.is_none_or(|all| all.iter().any(|nodes| nodes.contains(group)))
        };
        let looking = self.groups.iter().filter(|(_, group)| is_woken(group));
        let looking: Vec<_> = looking.map(|(id, _)| *id).collect();
        for id in looking {
            match build_delta(&self.view, &difference, node_id(id), DateTime::UNIX_EPOCH) {
                Delta::Nothing => {}
                Delta::Message(message) => self.clients.get_mut(&id).unwrap().receive(*message),
                Delta::Full => {
                    let mut message = build_full(
                        &self.view,
                        node_id(id),
                        &DerpMap::default(),
                        DateTime::UNIX_EPOCH,
                    )
                    .unwrap();
                    if message.peers.is_empty() {
                        message.peers_removed = lost_peers(&self.view, &changes, node_id(id));
                    }
                    self.clients.get_mut(&id).unwrap().receive(message);
                }
                Delta::Ended => {
                    self.clients.remove(&id);
                }
            }
        }
        for id in self.view.nodes.keys().map(|id| id.get()) {
            if !self.clients.contains_key(&id) {
                self.clients.insert(id, self.new_client(id));
            }
        }
        let shown = self.view.nodes.iter();
        self.groups = shown
            .map(|(id, shown)| (id.get(), ViewerGroup::of(shown)))
            .collect();
    }

    /// Returns what a client was told late of, if anything, in words.
    pub(super) fn told_late(&self, id: u64) -> Option<String> {
        let fresh = self.new_client(id).known();
        let (place, has, fresh) = first_difference(&self.clients.get(&id)?.known(), &fresh)?;
        Some(format!(
            "viewer {id} was told late of{place}: it knows {has}, a new client is told {fresh}"
        ))
    }

    pub(super) fn new_client(&self, id: u64) -> Client {
        self.compare_first_frames(id);
        let mut client = Client::default();
        client.receive(
            build_full(
                &self.view,
                node_id(id),
                &DerpMap::default(),
                DateTime::UNIX_EPOCH,
            )
            .unwrap(),
        );
        client
    }
}

impl TestTailnet {
    /// Sessions that share a delta with their class are told the same.
    fn compare_shared_deltas(&self, difference: &Difference) {
        let mut told = BTreeMap::new();
        for (id, ViewerGroup { class, .. }) in &self.groups {
            let shown = self.view.nodes.get(&node_id(*id));
            let Some(shown) = shown.filter(|shown| shown.offered && shown.class == *class) else {
                continue;
            };
            if difference.tells_class_alike(&self.view, shown) {
                let delta = build_delta(&self.view, difference, shown.id, DateTime::UNIX_EPOCH);
                let message = match delta {
                    Delta::Message(message) => serde_json::to_value(message).unwrap(),
                    other => Value::String(format!("{other:?}")),
                };
                let first = told.entry(*class).or_insert_with(|| message.clone());
                assert_eq!(*first, message, "node {id} shares the delta of its class");
            }
        }
    }

    /// A first frame made of shared parts says what a message made for the node alone says.
    fn compare_first_frames(&self, id: u64) {
        let whole = build_full(
            &self.view,
            node_id(id),
            &DerpMap::default(),
            DateTime::UNIX_EPOCH,
        );
        let whole = serde_json::to_value(whole.unwrap()).unwrap();
        for compression in [Compression::None, Compression::Zstd] {
            let version = CapabilityVersion(130);
            let dialect = Dialect {
                version,
                compression,
            };
            let frame = self.blocks.first_frame(
                &self.view,
                node_id(id),
                &DerpMap::default(),
                dialect,
                DateTime::UNIX_EPOCH,
            );
            if let Some(frame) = frame.unwrap() {
                let json = decode_frame(&mut BytesMut::from(&frame[..]), compression, 1 << 20);
                let glued: Value = serde_json::from_slice(&json.unwrap().unwrap()).unwrap();
                assert_eq!(glued, whole, "the first frame of node {id}");
            }
        }
    }
}

fn stamp((identity_revision, registry_revision): (u64, u64)) -> Stamp {
    Stamp {
        policy_version: 1,
        registry_revision,
        identity_revision,
    }
}

fn user(id: u64, admin: bool, suspended: bool, named: bool) -> User {
    let role = if admin { Role::Admin } else { Role::Member };
    User {
        id,
        tailnet_id: 1,
        login_name: format!("u{id}@a.test"),
        role: role.into(),
        suspended,
        display_name: if named {
            format!("User {id}")
        } else {
            String::new()
        },
        ..User::default()
    }
}

fn node(id: u64, user: u64, tags: Vec<String>, routes: Vec<String>, known: Option<&Node>) -> Node {
    let mut routes = routes;
    routes.sort();
    let is_subnet = |route: &&String| !route.ends_with("/0");
    Node {
        id,
        tailnet_id: 1,
        machine_key: vec![7; 32],
        node_key: known.map_or_else(
            || vec![u8::try_from(id % 251).unwrap(); 32],
            |known| known.node_key.clone(),
        ),
        user_id: user,
        tags,
        name: format!("n{id}"),
        ipv4: format!("100.64.{}.{}", id / 256, id % 256),
        ipv6: format!("fd7a:115c:a1e0::{id:x}"),
        // The registry elects one router of each route; here odd nodes are.
        primary_routes: routes
            .iter()
            .filter(is_subnet)
            .filter(|_| id % 2 == 1)
            .cloned()
            .collect(),
        advertised_routes: routes.clone(),
        approved_routes: routes,
        ..Node::default()
    }
}
