//! A gateway's copy of one tailnet, followed through every order in which entries, soft states, the two halves of an
//! answer and the outcomes of its own clients' reports may come, ends where a snapshot would begin.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bowline_netmap::{FilterSources, Replica, fixture::node_id};
use bowline_proto::{
    identity::v1::{IdentitySnapshot, Tailnet, User},
    key_registry::v1::{
        ClientReport, Endpoint, HostReport, Node, Presence, RegistryChange, RegistryChanges,
        RegistrySnapshot, SoftState, registry_change::Change,
    },
    policy::v1::{Class, CompiledUpdate, Membership, Settings, Stamp},
};
use proptest::prelude::*;

/// What happens next. Nodes are named by their place among those there are.
#[derive(Clone, Debug)]
enum Step {
    /// A node is registered: an entry.
    Register,
    /// What policy judges of a node changes, maybe because of a report from long ago: an entry.
    Adopt(usize),
    /// A node is deleted: an entry.
    Delete(usize),
    /// A node's client reports to this gateway, which can not bring it to the registry yet.
    ReportHere { node: usize, with_host: bool },
    /// A node's client roams: it reports through another gateway, which brings it at once.
    ReportElsewhere(usize),
    /// A session of a node begins somewhere else.
    Presence(usize),
    /// The registry takes the oldest report that this gateway holds, or ignores it.
    Deliver,
    /// This gateway hears what became of the oldest report delivered.
    Hear,
    /// The registry reads the soft states for this gateway's follower.
    ReadSoft,
    /// The registry reads at most so many entries for this gateway's follower.
    ReadEntries(usize),
    /// This gateway applies the answer, if it is whole.
    Apply,
    /// The entries are compacted away: this gateway takes a snapshot.
    TakeSnapshot,
    /// The compiler's output for the nodes there are arrives.
    Compile,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..8_usize;
    prop_oneof![
        3 => Just(Step::Register),
        2 => node.clone().prop_map(Step::Adopt),
        1 => node.clone().prop_map(Step::Delete),
        4 => (node.clone(), any::<bool>()).prop_map(|(node, with_host)| Step::ReportHere { node, with_host }),
        4 => node.clone().prop_map(Step::ReportElsewhere),
        2 => node.prop_map(Step::Presence),
        3 => Just(Step::Deliver),
        3 => Just(Step::Hear),
        5 => Just(Step::ReadSoft),
        5 => (1..4_usize).prop_map(Step::ReadEntries),
        5 => Just(Step::Apply),
        1 => Just(Step::TakeSnapshot),
        2 => Just(Step::Compile),
    ]
}

/// A soft state with what the registry judges reports by.
#[derive(Clone, Debug, Default)]
struct Row {
    state: SoftState,
    is_from_here: bool,
    sequence: u64,
    sent_at: u64,
}

/// A client's report, and when it was sent.
#[derive(Clone, Debug)]
struct Sent {
    report: ClientReport,
    at: u64,
}

/// The registry as its database has it.
#[derive(Debug, Default)]
struct Registry {
    log: Vec<RegistryChange>,
    nodes: BTreeMap<u64, Node>,
    soft: BTreeMap<u64, Row>,
    soft_head: u64,
    newest_node: u64,
}

impl Registry {
    fn commit(&mut self, change: Change) {
        match &change {
            Change::Node(node) => {
                self.nodes.insert(node.id, node.clone());
            }
            Change::NodeDeleted(id) => {
                self.nodes.remove(id);
                self.soft.remove(id);
            }
            Change::Lock(_) => {}
        }
        self.log.push(RegistryChange::from(change));
    }

    fn commit_soft(&mut self, id: u64, change: impl FnOnce(&mut Row)) -> u64 {
        self.soft_head += 1;
        let row = self.soft.entry(id).or_default();
        change(row);
        row.state.node_id = id;
        row.state.soft_revision = self.soft_head;
        self.soft_head
    }

    /// Takes a report as the registry does; returns the soft revision that has it, or nothing when it is old.
    fn take(&mut self, id: u64, sent: Sent, is_from_here: bool) -> Option<u64> {
        if !self.nodes.contains_key(&id) {
            return None;
        }
        let before = self.soft.get(&id).cloned().unwrap_or_default();
        let is_news = match before.is_from_here == is_from_here {
            true => sent.report.sequence >= before.sequence,
            false => sent.at >= before.sent_at,
        };
        is_news.then(|| {
            self.commit_soft(id, |row| {
                (row.is_from_here, row.sequence, row.sent_at) =
                    (is_from_here, sent.report.sequence, sent.at);
                row.state.disco_key = sent.report.disco_key;
                row.state.endpoints = sent.report.endpoints;
                if let Some(host) = sent.report.host {
                    row.state.home_derp = host.home_derp;
                }
            })
        })
    }

    fn snapshot(&self) -> RegistrySnapshot {
        let soft = |id: &u64| {
            let unreported = SoftState {
                node_id: *id,
                ..SoftState::default()
            };
            self.soft
                .get(id)
                .map_or(unreported, |row| row.state.clone())
        };
        RegistrySnapshot {
            revision: self.log.len() as u64,
            soft_revision: self.soft_head,
            nodes: self.nodes.values().cloned().collect(),
            soft: self.nodes.keys().map(soft).collect(),
            last: true,
            lock: None,
        }
    }
}

/// An answer of the registry while it is read. Either half may be read first: a registry of an earlier release reads
/// the entries first and sends soft states whatever it has cut.
#[derive(Debug, Default)]
struct Reading {
    soft: Option<(Vec<SoftState>, u64)>,
    entries: Option<Vec<RegistryChange>>,
    is_cut: bool,
    began_with_entries: bool,
}

struct TestFollower {
    registry: Registry,
    replica: Replica,
    position: (usize, u64),
    reading: Reading,
    /// Reports that this gateway holds, the newest of each node.
    held: VecDeque<(u64, Sent)>,
    /// What became of reports, not heard yet.
    outcomes: VecDeque<(u64, u64, Option<u64>)>,
    now: u64,
}

impl TestFollower {
    fn new() -> Self {
        Self {
            registry: Registry::default(),
            replica: replica(RegistrySnapshot {
                last: true,
                ..RegistrySnapshot::default()
            }),
            position: (0, 0),
            reading: Reading::default(),
            held: VecDeque::new(),
            outcomes: VecDeque::new(),
            now: 0,
        }
    }

    fn node(&self, place: usize) -> Option<u64> {
        let ids: Vec<_> = self.registry.nodes.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[place % ids.len()])
    }

    fn report(&self, with_host: bool) -> Sent {
        let endpoint = Endpoint {
            address: format!("192.0.2.1:{}", self.now),
            kind: 1,
        };
        let host = HostReport {
            home_derp: u32::try_from(self.now).unwrap(),
            ..HostReport::default()
        };
        let report = ClientReport {
            disco_key: vec![u8::try_from(self.now % 251).unwrap(); 32],
            endpoints: vec![endpoint],
            host: with_host.then_some(host),
            sequence: self.now,
            ..ClientReport::default()
        };
        Sent {
            report,
            at: self.now,
        }
    }

    fn step(&mut self, step: &Step) {
        self.now += 1;
        match *step {
            Step::Register => {
                self.registry.newest_node += 1;
                let id = self.registry.newest_node;
                self.registry.commit(Change::Node(node(id, 0)));
            }
            Step::Adopt(place) => {
                if let Some(id) = self.node(place) {
                    self.registry.commit(Change::Node(node(id, self.now)));
                }
            }
            Step::Delete(place) => {
                if let Some(id) = self.node(place) {
                    self.registry.commit(Change::NodeDeleted(id));
                }
            }
            Step::ReportHere { node, with_host } => {
                if let Some(id) = self.node(node) {
                    self.report_here(id, with_host);
                }
            }
            Step::ReportElsewhere(place) => {
                if let Some(id) = self.node(place) {
                    let sent = self.report(true);
                    self.registry.take(id, sent, false);
                }
            }
            Step::Presence(place) => {
                if let Some(id) = self.node(place) {
                    let presence = Presence {
                        epoch: self.now,
                        gateway: "elsewhere".to_owned(),
                    };
                    self.registry.commit_soft(id, |row| {
                        row.state.presence = Some(presence);
                        row.state.online = true;
                    });
                }
            }
            Step::Deliver => {
                if let Some((id, sent)) = self.held.pop_front() {
                    let sequence = sent.report.sequence;
                    let applied_at = self.registry.take(id, sent, true);
                    self.outcomes.push_back((id, sequence, applied_at));
                }
            }
            Step::Hear => {
                if let Some((id, sequence, applied_at)) = self.outcomes.pop_front() {
                    self.replica
                        .note_report_accepted(node_id(id), sequence, applied_at);
                }
            }
            Step::ReadSoft => self.read_soft(),
            Step::ReadEntries(most) => self.read_entries(most),
            Step::Apply => self.apply(),
            Step::TakeSnapshot => {
                let snapshot = self.registry.snapshot();
                self.position = (self.registry.log.len(), self.registry.soft_head);
                self.replica.apply_registry_snapshot(vec![snapshot]);
                self.reading = Reading::default();
            }
            Step::Compile => compile(&mut self.replica, &self.registry),
        }
        self.replica.publish();
    }

    fn report_here(&mut self, id: u64, with_host: bool) {
        let mut sent = self.report(with_host);
        self.replica.apply_report(node_id(id), sent.report.clone());
        if let Some(place) = self.held.iter().position(|(held, _)| *held == id) {
            let earlier = self.held.remove(place).unwrap().1;
            sent.report.host = sent.report.host.or(earlier.report.host);
        }
        self.held.push_back((id, sent));
    }

    fn read_soft(&mut self) {
        if self.reading.soft.is_none() {
            let rows = self.registry.soft.values();
            let newer = rows.filter(|row| row.state.soft_revision > self.position.1);
            let mut states: Vec<_> = newer.map(|row| row.state.clone()).collect();
            states.sort_by_key(|state| state.soft_revision);
            self.reading.soft = Some((states, self.registry.soft_head));
        }
    }

    fn read_entries(&mut self, most: usize) {
        if self.reading.entries.is_none() {
            self.reading.began_with_entries = self.reading.soft.is_none();
            let after = &self.registry.log[self.position.0..];
            self.reading.is_cut = after.len() > most;
            self.reading.entries = Some(after.iter().take(most).cloned().collect());
        }
    }

    fn apply(&mut self) {
        let Reading {
            soft: Some((soft, soft_through)),
            entries: Some(entries),
            is_cut,
            began_with_entries,
        } = &mut self.reading
        else {
            return;
        };
        let mut answer = RegistryChanges {
            entries: std::mem::take(entries),
            from_revision: self.position.0 as u64,
            soft: std::mem::take(soft),
            soft_through: *soft_through,
            ..RegistryChanges::default()
        };
        if *is_cut && !*began_with_entries {
            answer.soft.clear();
            answer.soft_through = self.position.1;
        }
        self.position.0 += answer.entries.len();
        self.position.1 = answer.soft_through;
        self.replica.apply_registry_answer(answer);
        self.reading = Reading::default();
    }

    /// Faults are over: what is held is delivered, and the follower catches up.
    fn settle(&mut self) {
        self.step(&Step::Apply);
        self.reading = Reading::default();
        while !self.held.is_empty() {
            self.step(&Step::Deliver);
        }
        while !self.outcomes.is_empty() {
            self.step(&Step::Hear);
        }
        while self.position != (self.registry.log.len(), self.registry.soft_head) {
            for step in [Step::ReadSoft, Step::ReadEntries(100), Step::Apply] {
                self.step(&step);
            }
        }
        self.step(&Step::Compile);
    }
}

fn node(id: u64, adopted: u64) -> Node {
    Node {
        id,
        tailnet_id: 1,
        user_id: 7,
        node_key: id.to_be_bytes().repeat(4),
        machine_key: id.to_be_bytes().repeat(4),
        name: format!("n{id}"),
        hostname: format!("h{adopted}"),
        client_version: format!("{adopted}"),
        ipv4: format!("100.64.0.{id}"),
        ipv6: format!("fd7a:115c:a1e0::{id:x}"),
        approved: true,
        ..Node::default()
    }
}

/// Returns a copy of a tailnet with one user, as a snapshot of the registry has it.
fn replica(snapshot: RegistrySnapshot) -> Replica {
    let mut replica = Replica::new(FilterSources::Addresses);
    let tailnet = Tailnet {
        id: 1,
        name: "t".to_owned(),
        ..Tailnet::default()
    };
    replica.apply_identity_snapshot(vec![IdentitySnapshot {
        revision: 1,
        tailnet: Some(tailnet),
        users: vec![User {
            id: 7,
            login_name: "amira@example.com".to_owned(),
            ..User::default()
        }],
        last: true,
        ..IdentitySnapshot::default()
    }]);
    replica.apply_registry_snapshot(vec![snapshot]);
    replica
}

/// Applies output that puts every node into one class.
fn compile(replica: &mut Replica, registry: &Registry) {
    let membership = |id: &u64| Membership {
        node_id: *id,
        class_id: 1,
        settings_id: 3,
    };
    replica.apply_compiled(vec![CompiledUpdate {
        stamp: Some(Stamp {
            registry_revision: registry.log.len() as u64,
            identity_revision: 1,
            policy_version: 0,
        }),
        full: true,
        classes: vec![Class {
            id: 1,
            selectors: vec![7],
            sees: vec![7],
            ..Class::default()
        }],
        settings: vec![Settings {
            id: 3,
            ..Settings::default()
        }],
        memberships: registry.nodes.keys().map(membership).collect(),
        last: true,
        ..CompiledUpdate::default()
    }]);
}

/// Returns what is shown of each node.
fn shown(replica: &mut Replica) -> BTreeMap<u64, (Node, SoftState)> {
    // A view is published only with what differs.
    replica.note_relays_changed();
    let (view, _) = replica.publish().unwrap();
    view.nodes
        .iter()
        .map(|(id, shown)| (id.get(), ((*shown.node).clone(), (*shown.soft).clone())))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn follower_ends_where_a_snapshot_begins(steps in prop::collection::vec(step(), 1..60)) {
        let mut follower = TestFollower::new();
        for step in &steps {
            follower.step(step);
        }
        follower.settle();
        let mut fresh = replica(follower.registry.snapshot());
        compile(&mut fresh, &follower.registry);
        let (now, expected) = (shown(&mut follower.replica), shown(&mut fresh));
        let ids: BTreeSet<_> = expected.keys().copied().collect();
        prop_assert_eq!(ids, follower.registry.nodes.keys().copied().collect());
        prop_assert_eq!(now, expected);
    }
}
