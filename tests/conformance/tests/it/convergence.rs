//! However a tailnet changes, what a client knows after all it was sent is what a new client is told at once; and
//! nobody is told of a node that a new client in its place would not be told of.

use std::collections::{BTreeMap, BTreeSet};

use bowline_control_wire::{
    CapabilityVersion, Compression, DerpMap, MapResponse, Node as WireNode, PeerChange, unframe,
};
use bowline_netmap_gateway::{
    Blocks, ChangeSet, Delta, Dialect, Replica, Sources, View, delta, full,
};
use bowline_policy::{Compiler, Policy};
use bowline_policy_compiler::{inventory, message};
use bowline_proto::{
    identity::v1::{IdentityChange, IdentitySnapshot, Role, Tailnet, User, identity_change},
    key_registry::v1::{
        ClientReport, Endpoint, Node, RegistryChange, RegistrySnapshot, SoftState, registry_change,
    },
    policy::v1::Stamp,
};
use bytes::BytesMut;
use chrono::DateTime;
use proptest::prelude::*;
use serde_json::Value;

const POLICIES: [&str; 11] = [
    "",
    r#"{"acls": []}"#,
    r#"{"groups": {"group:eng": ["u1@a.test"]}, "tagOwners": {"tag:web": []},
        "acls": [{"action": "accept", "src": ["group:eng"], "dst": ["tag:web:80", "10.0.0.0/8:*"]},
                 {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}]}"#,
    r#"{"tagOwners": {"tag:web": [], "tag:r1": [], "tag:r2": []},
        "grants": [{"src": ["*"], "dst": ["tag:web"], "ip": ["tcp:80"], "app": {"example.com/cap/x": [{"a": 1}]}},
                   {"src": ["u1@a.test"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r1"]},
                   {"src": ["u2@a.test"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r2", "tag:r1"]},
                   {"src": ["autogroup:member"], "dst": ["autogroup:internet"], "ip": ["*"]}]}"#,
    r#"{"tagOwners": {"tag:web": []},
        "ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"]},
                {"action": "check", "src": ["autogroup:tagged", "u1@a.test"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]}],
        "nodeAttrs": [{"target": ["tag:web"], "attr": ["disable-ipv4"]}, {"target": ["u1@a.test"], "attr": ["nextdns:x"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["autogroup:admin"], "dst": ["*:22"]},
                 {"action": "accept", "src": ["10.0.0.0/8"], "dst": ["autogroup:member:53"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:self:*", "0.0.0.0/0:443"]}]}"#,
    // Chosen routers that are sources themselves, reached from subnets and reaching others, exits too.
    r#"{"tagOwners": {"tag:r1": [], "tag:r2": []},
        "grants": [{"src": ["*"], "dst": ["10.0.0.0/8", "autogroup:internet"], "ip": ["*"], "via": ["tag:r1"]},
                   {"src": ["10.1.0.0/24"], "dst": ["u1@a.test", "tag:r2"], "ip": ["22"]}]}"#,
    r#"{"tagOwners": {"tag:r1": [], "tag:r2": []},
        "grants": [{"src": ["10.1.0.0/24", "tag:r1"], "dst": ["10.0.0.0/8", "autogroup:internet"], "ip": ["*"], "via": ["tag:r1"]},
                   {"src": ["autogroup:member"], "dst": ["10.0.0.0/16"], "ip": ["*"], "via": ["tag:r2"]},
                   {"src": ["u2@a.test"], "dst": ["10.0.0.0/8"], "ip": ["22"]}]}"#,
    // The same selectors in other places: classes stay, and what they see differs.
    r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["u1@a.test:22"]},
                 {"action": "accept", "src": ["u1@a.test"], "dst": ["u2@a.test:53"]}]}"#,
    r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["u2@a.test:22"]},
                 {"action": "accept", "src": ["u2@a.test"], "dst": ["u1@a.test:53"]}]}"#,
];

const ROUTES: [&str; 4] = ["10.0.0.0/16", "10.1.0.0/24", "0.0.0.0/0", "::/0"];
const TAGS: [&str; 3] = ["tag:web", "tag:r1", "tag:r2"];

#[derive(Clone, Debug)]
enum Step {
    Node {
        id: u64,
        user: u64,
        tags: Vec<String>,
        routes: Vec<String>,
        expired: bool,
    },
    Delete(u64),
    User {
        id: u64,
        admin: bool,
        suspended: bool,
    },
    Online {
        id: u64,
        online: bool,
    },
    Report {
        id: u64,
        derp: u32,
    },
    Policy(usize),
    /// The compiler's newest output arrives.
    Compiled,
    /// The clients look.
    Look,
}

/// Numbers of nodes: neighbours, and some far away.
fn number() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 2, 130, 131, 300])
}

fn step() -> impl Strategy<Value = Step> {
    let some = |all: &'static [&'static str]| {
        let picked = prop::sample::subsequence(all.to_vec(), 0..=all.len().min(3));
        picked.prop_map(|some| some.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    prop_oneof![
        5 => (number(), 1..4_u64, some(&TAGS), some(&ROUTES), prop::bool::weighted(0.1))
            .prop_map(|(id, user, tags, routes, expired)| Step::Node { id, user, tags, routes, expired }),
        1 => number().prop_map(Step::Delete),
        2 => (1..4_u64, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(id, admin, suspended)| Step::User { id, admin, suspended }),
        2 => (number(), any::<bool>()).prop_map(|(id, online)| Step::Online { id, online }),
        2 => (number(), 0..3_u32).prop_map(|(id, derp)| Step::Report { id, derp }),
        3 => (0..POLICIES.len()).prop_map(Step::Policy),
        4 => Just(Step::Compiled),
        4 => Just(Step::Look),
    ]
}

/// What a client knows.
#[derive(Clone, Debug, Default)]
struct Client {
    own: Value,
    peers: BTreeMap<u64, WireNode>,
    filters: BTreeMap<String, Value>,
    ssh: Value,
}

impl Client {
    /// Returns everything in one comparable form.
    fn known(&self) -> Value {
        let Self {
            own,
            peers,
            filters,
            ssh,
        } = self;
        serde_json::json!({"own": own, "peers": peers, "filters": filters, "ssh": ssh})
    }

    fn receive(&mut self, message: MapResponse) {
        if let Some(node) = message.node {
            // What it reported itself a client is not told again.
            let node = WireNode {
                home_derp: 0,
                ..node
            };
            self.own = serde_json::to_value(node).unwrap();
        }
        self.peers
            .extend(message.peers.into_iter().map(|peer| (peer.id, peer)));
        self.peers.extend(
            message
                .peers_changed
                .into_iter()
                .map(|peer| (peer.id, peer)),
        );
        for id in message.peers_removed {
            self.peers.remove(&id);
        }
        for change in message.peers_changed_patch {
            let peer = self
                .peers
                .get_mut(&change.node_id)
                .expect("a patch is of a known peer");
            patch(peer, change);
        }
        let mut filters = message.packet_filters;
        if filters.remove("*").is_some() {
            self.filters.clear();
        }
        for (name, rules) in filters {
            match rules {
                // An empty chunk allows what no chunk allows: nothing.
                Some(rules) if rules.is_empty() => self.filters.remove(&name),
                Some(rules) => self
                    .filters
                    .insert(name, serde_json::to_value(rules).unwrap()),
                None => self.filters.remove(&name),
            };
        }
        if let Some(policy) = message.ssh_policy {
            self.ssh = serde_json::to_value(policy).unwrap();
        }
    }
}

fn patch(peer: &mut WireNode, change: PeerChange) {
    if change.derp_region != 0 {
        peer.home_derp = change.derp_region;
    }
    if let Some(online) = change.online {
        peer.online = Some(online);
        peer.last_seen = change.last_seen;
    }
    if !change.endpoints.is_empty() {
        peer.endpoints = change.endpoints;
    }
    if let Some(key) = change.key {
        peer.key = key;
    }
}

struct Lab {
    compiler: Compiler,
    replica: Replica,
    view: std::sync::Arc<View>,
    changes: ChangeSet,
    /// Parts of first messages, kept all the time.
    blocks: Blocks,
    revisions: (u64, u64),
    nodes: BTreeMap<u64, Node>,
    soft: BTreeMap<u64, SoftState>,
    clients: BTreeMap<u64, Client>,
}

impl Lab {
    fn new(sources: Sources) -> Self {
        let mut replica = Replica::new(sources);
        let tailnet = Tailnet {
            id: 1,
            name: "t".to_owned(),
            magic_dns_suffix: "t.test".to_owned(),
            ..Tailnet::default()
        };
        let mut compiler = Compiler::new(Policy::allow_all());
        let users: Vec<_> = (1..4).map(|id| user(id, false, false)).collect();
        users
            .iter()
            .for_each(|user| compiler.put_user(inventory::user(user)));
        replica.identity_snapshot(vec![IdentitySnapshot {
            revision: 1,
            tailnet: Some(tailnet),
            users,
            last: true,
        }]);
        replica.registry_snapshot(vec![RegistrySnapshot {
            revision: 1,
            last: true,
            ..RegistrySnapshot::default()
        }]);
        replica.compiled(message::update(&compiler.full(), stamp((1, 1)), true));
        compiler.take_changes();
        let (view, _) = replica.publish().unwrap();
        Self {
            compiler,
            replica,
            view,
            changes: ChangeSet::default(),
            blocks: Blocks::default(),
            revisions: (1, 1),
            nodes: BTreeMap::new(),
            soft: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }

    fn change(&mut self, change: registry_change::Change) {
        let from = self.revisions.1;
        self.revisions.1 += 1;
        self.replica.registry_changes(
            vec![RegistryChange {
                change: Some(change),
            }],
            from,
        );
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Node {
                id,
                user,
                tags,
                routes,
                expired,
            } => {
                let known = self.nodes.get(&id);
                let node = node(id, user, tags, routes, expired, known);
                self.compiler.put_node(inventory::node(&node));
                self.nodes.insert(id, node.clone());
                self.change(registry_change::Change::Node(node));
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
            } => {
                let user = user(id, admin, suspended);
                self.compiler.put_user(inventory::user(&user));
                self.revisions.0 += 1;
                let change = Some(identity_change::Change::User(user));
                self.replica
                    .identity_changes(vec![IdentityChange { change }], self.revisions.0);
            }
            Step::Online { id, online } if self.nodes.contains_key(&id) => {
                let soft = self.soft.entry(id).or_insert_with(|| SoftState {
                    node_id: id,
                    ..SoftState::default()
                });
                soft.soft_revision += 1;
                soft.online = online;
                let soft = soft.clone();
                self.replica.soft_states(vec![soft]);
            }
            Step::Report { id, derp } if self.nodes.contains_key(&id) => {
                let endpoint = Endpoint {
                    address: format!("192.0.2.{}:{derp}", id % 200),
                    kind: 1,
                };
                let report = ClientReport {
                    endpoints: vec![endpoint],
                    home_derp: derp,
                    sequence: 1,
                    ..ClientReport::default()
                };
                self.replica.report(id, report);
            }
            Step::Online { .. } | Step::Report { .. } => {}
            Step::Policy(number) => self
                .compiler
                .set_policy(Policy::parse(POLICIES[number], &BTreeSet::new()).unwrap()),
            Step::Compiled => self.compiled(),
            Step::Look => self.look(),
        }
        if let Some((view, changes)) = self.replica.publish() {
            self.blocks.note(&view, &changes);
            self.view = view;
            self.changes.extend(&changes);
        }
    }

    fn compiled(&mut self) {
        let changes = self.compiler.take_changes();
        let update = message::update(&changes, stamp(self.revisions), false);
        self.replica.compiled(update);
    }

    /// Every client is sent what differs; those not shown are gone, new ones are told everything.
    fn look(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let told: BTreeSet<_> = self.clients.keys().copied().collect();
        for id in told {
            match delta(&self.view, &changes, id, DateTime::UNIX_EPOCH) {
                Delta::Nothing => {}
                Delta::Message(message) => self.clients.get_mut(&id).unwrap().receive(*message),
                Delta::Full | Delta::Ended => {
                    self.clients.remove(&id);
                }
            }
        }
        for id in self.view.nodes.keys() {
            if !self.clients.contains_key(id) {
                self.clients.insert(*id, self.told_now(*id));
            }
        }
    }

    fn told_now(&self, id: u64) -> Client {
        self.compare_first_frames(id);
        let mut client = Client::default();
        client.receive(full(&self.view, id, &DerpMap::default(), DateTime::UNIX_EPOCH).unwrap());
        client
    }
}

impl Lab {
    /// A first frame made of shared parts says what a message made for the node alone says.
    fn compare_first_frames(&self, id: u64) {
        let whole = full(&self.view, id, &DerpMap::default(), DateTime::UNIX_EPOCH);
        let whole = serde_json::to_value(whole.unwrap()).unwrap();
        for compression in [Compression::None, Compression::Zstd] {
            let version = CapabilityVersion(130);
            let dialect = Dialect {
                version,
                compression,
            };
            let frame = self.blocks.first_frame(
                &self.view,
                id,
                &DerpMap::default(),
                (dialect, DateTime::UNIX_EPOCH),
            );
            if let Some(frame) = frame.unwrap() {
                let json = unframe(&mut BytesMut::from(&frame[..]), compression, 1 << 20);
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

fn user(id: u64, admin: bool, suspended: bool) -> User {
    let role = if admin { Role::Admin } else { Role::Member };
    User {
        id,
        tailnet_id: 1,
        login_name: format!("u{id}@a.test"),
        role: role.into(),
        suspended,
        ..User::default()
    }
}

fn node(
    id: u64,
    user: u64,
    tags: Vec<String>,
    routes: Vec<String>,
    expired: bool,
    known: Option<&Node>,
) -> Node {
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
        approved: true,
        expired,
        ..Node::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_sent_adds_up_to_what_a_new_client_is_told(
        steps in prop::collection::vec(step(), 1..60),
        sources in prop_oneof![Just(Sources::Addresses), Just(Sources::Capabilities)],
    ) {
        let mut lab = Lab::new(sources);
        for step in steps {
            lab.step(step);
            lab.step(Step::Look);
            for (id, client) in &lab.clients {
                let told = lab.told_now(*id);
                prop_assert_eq!(client.known(), told.known(), "node {}", id);
                prop_assert!(!told.peers.contains_key(id));
            }
        }
        lab.step(Step::Compiled);
        lab.step(Step::Look);
        // In the end nothing waits: whoever may take part is shown.
        prop_assert_eq!(lab.view.nodes.len(), lab.nodes.len());
    }
}
