//! However a tailnet changes, what a client knows after all it was sent is what a new client is told at once; and
//! nobody is told of a node that a new client in its place would not be told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_control_wire::{
    CapabilityVersion, Compression, DerpMap, MapResponse, Node as WireNode, PeerChange,
    decode_frame,
};
use bowline_netmap::{
    ChangeSet, Delta, Dialect, Difference, FilterSources, PeerBlocks, Replica, View, build_delta,
    build_full, lost_peers,
};
use bowline_policy::{Compiler, DocumentContext, Policy};
use bowline_policy_compiler::{inventory, message};
use bowline_proto::{
    identity::v1::{IdentityChange, IdentitySnapshot, Role, Tailnet, User, identity_change},
    key_registry::v1::{
        ClientReport, Endpoint, HostReport, Node, RegistryChange, RegistrySnapshot, SoftState,
        registry_change,
    },
    policy::v1::Stamp,
};
use bytes::BytesMut;
use chrono::DateTime;
use proptest::prelude::*;
use prost_types::Timestamp;
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
                {"action": "accept", "src": ["autogroup:tagged", "u1@a.test"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]},
                {"action": "check", "src": ["u2@a.test", "u1@a.test"], "dst": ["tag:web"], "users": ["localpart:*@a.test"]}],
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
        approved: bool,
    },
    Delete(u64),
    User {
        id: u64,
        admin: bool,
        suspended: bool,
        named: bool,
    },
    DeleteUser(u64),
    Online {
        id: u64,
        online: bool,
    },
    Report {
        id: u64,
        derp: u32,
    },
    Policy(usize),
    /// A setting that every client is told whole.
    Tailnet {
        magic_dns: bool,
    },
    /// The compiler's newest output arrives.
    CompiledPolicy,
    /// The same, computed before the newest entry of the registry: what that entry is about waits.
    Lagging,
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
        5 => (number(), 1..4_u64, some(&TAGS), some(&ROUTES), prop::bool::weighted(0.1), prop::bool::weighted(0.9))
            .prop_map(|(id, user, tags, routes, expired, approved)| {
                Step::Node { id, user, tags, routes, expired, approved }
            }),
        1 => number().prop_map(Step::Delete),
        2 => (1..4_u64, any::<bool>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(id, admin, suspended, named)| Step::User { id, admin, suspended, named }),
        1 => (1..4_u64).prop_map(Step::DeleteUser),
        1 => any::<bool>().prop_map(|magic_dns| Step::Tailnet { magic_dns }),
        2 => (number(), any::<bool>()).prop_map(|(id, online)| Step::Online { id, online }),
        2 => (number(), 0..3_u32).prop_map(|(id, derp)| Step::Report { id, derp }),
        3 => (0..POLICIES.len()).prop_map(Step::Policy),
        4 => Just(Step::CompiledPolicy),
        1 => Just(Step::Lagging),
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
    profiles: BTreeMap<u64, Value>,
}

impl Client {
    /// Returns everything in one comparable form; of the profiles it keeps for ever, those of the nodes it knows.
    fn known(&self) -> Value {
        let Self {
            own,
            peers,
            filters,
            ssh,
            profiles,
        } = self;
        let own_user = own["User"].as_u64();
        let users = peers.values().map(|peer| peer.user).chain(own_user);
        let profiles: BTreeMap<_, _> = users.map(|user| (user, &profiles[&user])).collect();
        serde_json::json!({"own": own, "peers": peers, "filters": filters, "ssh": ssh, "profiles": profiles})
    }

    /// Returns whatever its filters and SSH rules name as sources.
    fn sources(&self) -> Vec<String> {
        let rules = self.filters.values().filter_map(Value::as_array).flatten();
        let sources = rules.filter_map(|rule| rule["SrcIPs"].as_array()).flatten();
        let logins = self.ssh["rules"].as_array().into_iter().flatten();
        let principals = logins
            .filter_map(|rule| rule["principals"].as_array())
            .flatten();
        let addresses = principals.map(|principal| &principal["nodeIP"]);
        let named = sources.chain(addresses).filter_map(Value::as_str);
        named.map(str::to_owned).collect()
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
        let profiles = message.user_profiles.into_iter();
        self.profiles
            .extend(profiles.map(|profile| (profile.id, serde_json::to_value(profile).unwrap())));
        // A list of peers replaces all; one without any is none.
        if !message.peers.is_empty() {
            let peers = message.peers.into_iter();
            self.peers = peers.map(|peer| (peer.id, peer)).collect();
        }
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
        peer.last_seen = None;
    }
    if change.last_seen.is_some() {
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
    view: Arc<View>,
    changes: ChangeSet,
    /// Parts of first messages, kept all the time.
    blocks: PeerBlocks,
    revisions: (u64, u64),
    tailnet: Tailnet,
    nodes: BTreeMap<u64, Node>,
    soft: BTreeMap<u64, SoftState>,
    clients: BTreeMap<u64, Client>,
}

impl Lab {
    fn new(sources: FilterSources) -> Self {
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
            .for_each(|user| compiler.put_user(inventory::convert_user(user)));
        replica.apply_identity_snapshot(vec![IdentitySnapshot {
            revision: 1,
            tailnet: Some(tailnet.clone()),
            users,
            last: true,
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
        self.replica.apply_registry_changes(
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
                approved,
            } => {
                let known = self.nodes.get(&id);
                let node = Node {
                    expired,
                    approved,
                    ..node(id, user, tags, routes, known)
                };
                self.compiler.put_node(inventory::convert_node(&node));
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
                named,
            } => {
                let user = user(id, admin, suspended, named);
                self.compiler.put_user(inventory::convert_user(&user));
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
            Step::Policy(number) => self
                .compiler
                .set_policy(Policy::parse(POLICIES[number], &DocumentContext::default()).unwrap()),
            Step::CompiledPolicy => self.compiled(self.revisions),
            Step::Lagging => self.compiled((self.revisions.0, self.revisions.1 - 1)),
            Step::Look => self.look(),
        }
        if let Some((view, changes)) = self.replica.publish() {
            let difference = Difference::find(&view, &changes);
            self.blocks.note_difference(&view, &difference);
            self.view = view;
            self.changes.extend(&changes);
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
        self.replica.apply_report(id, report);
    }

    fn identity(&mut self, change: identity_change::Change) {
        self.revisions.0 += 1;
        let change = Some(change);
        self.replica
            .apply_identity_changes(vec![IdentityChange { change }], self.revisions.0);
    }

    fn compiled(&mut self, revisions: (u64, u64)) {
        let changes = self.compiler.take_changes();
        let update = message::update_messages(&changes, stamp(revisions), false);
        self.replica.apply_compiled(update);
    }

    /// Every client is sent what differs, or everything on the stream it has; those whose stream ended are gone, new
    /// ones are told everything.
    fn look(&mut self) {
        let changes = Arc::new(std::mem::take(&mut self.changes));
        let difference = Difference::find(&self.view, &changes);
        let told: BTreeSet<_> = self.clients.keys().copied().collect();
        for id in told {
            match build_delta(&self.view, &difference, id, DateTime::UNIX_EPOCH) {
                Delta::Nothing => {}
                Delta::Message(message) => self.clients.get_mut(&id).unwrap().receive(*message),
                Delta::Full => {
                    let mut message =
                        build_full(&self.view, id, &DerpMap::default(), DateTime::UNIX_EPOCH)
                            .unwrap();
                    if message.peers.is_empty() {
                        message.peers_removed = lost_peers(&self.view, &changes, id);
                    }
                    self.clients.get_mut(&id).unwrap().receive(message);
                }
                Delta::Ended => {
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
        client.receive(
            build_full(&self.view, id, &DerpMap::default(), DateTime::UNIX_EPOCH).unwrap(),
        );
        client
    }
}

impl Lab {
    /// A first frame made of shared parts says what a message made for the node alone says.
    fn compare_first_frames(&self, id: u64) {
        let whole = build_full(&self.view, id, &DerpMap::default(), DateTime::UNIX_EPOCH);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_was_sent_adds_up_to_what_a_new_client_is_told(
        steps in prop::collection::vec(step(), 1..60),
        sources in prop_oneof![Just(FilterSources::Addresses), Just(FilterSources::Capabilities)],
    ) {
        let mut lab = Lab::new(sources);
        for step in steps {
            lab.step(step);
            lab.step(Step::Look);
            for (id, client) in &lab.clients {
                let told = lab.told_now(*id);
                prop_assert_eq!(client.known(), told.known(), "node {}", id);
                prop_assert!(!told.peers.contains_key(id));
                for source in told.sources() {
                    let named = lab.view.node_by_address.get(&*source).map(|named| &lab.view.nodes[named]);
                    prop_assert!(named.is_none_or(|named| named.offered), "{} is named to {}", source, id);
                }
            }
        }
        lab.step(Step::CompiledPolicy);
        lab.step(Step::Look);
        // In the end nothing waits: whoever may take part is shown.
        prop_assert_eq!(lab.view.nodes.len(), lab.nodes.len());
    }
}
