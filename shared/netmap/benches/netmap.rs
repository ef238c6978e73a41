//! What a gateway spends: on a first message made for one node alone, on one glued from shared blocks, on telling one
//! change, and on keeping the past.
//!
//! The tailnet: everybody reaches everybody, the hardest case; all nodes are one class. The past is kept in two ways to
//! compare: as change sets, which say how it was, and as the views themselves. `alloc` less `dealloc` is what 256 kept
//! generations take, each one node's report of another endpoint; `derive_one` finds from two views the difference that
//! `publish_one_report` notes on the way.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures")]

use std::{sync::Arc, time::Instant};

use bowline_control_wire::{CapabilityVersion, Compression, DerpMap};
use bowline_ids::NodeId;
use bowline_netmap::{
    ChangeSet, Dialect, Difference, FilterSources, PeerBlocks, Replica, View, build_delta,
    build_full,
};
use bowline_proto::{
    identity::v1::{IdentitySnapshot, Tailnet, User},
    key_registry::v1::{ClientReport, Endpoint, Node, RegistrySnapshot, SoftState},
    policy::v1::{Class, CompiledUpdate, Membership, Settings, Stamp},
};
use chrono::DateTime;
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NODES: [u64; 3] = [100, 1_000, 10_000];
const DIALECT: Dialect = Dialect {
    version: CapabilityVersion(140),
    compression: Compression::Zstd,
};

/// How many generations of the past are kept.
const GENERATIONS: u64 = 256;

fn main() {
    divan::main();
    growth();
}

/// A message made for one node alone.
#[divan::bench(args = NODES, sample_count = 10)]
fn alone(bencher: Bencher<'_, '_>, nodes: u64) {
    let tailnet = BenchTailnet::new(nodes);
    bencher.bench_local(|| black_box(tailnet.alone(1)));
}

/// The same of shared blocks that were never made.
#[divan::bench(args = NODES, sample_count = 10)]
fn glued_cold(bencher: Bencher<'_, '_>, nodes: u64) {
    let tailnet = BenchTailnet::new(nodes);
    bencher
        .with_inputs(|| tailnet.blocks())
        .bench_local_values(|blocks| black_box(tailnet.glued(&blocks, 1)));
}

/// The same of shared blocks that other sessions were sent.
#[divan::bench(args = NODES, sample_count = 100)]
fn glued_warm(bencher: Bencher<'_, '_>, nodes: u64) {
    let tailnet = BenchTailnet::new(nodes);
    let blocks = tailnet.blocks();
    tailnet.glued(&blocks, nodes);
    bencher.bench_local(|| black_box(tailnet.glued(&blocks, 1)));
}

/// One node's report, from the registry's word to the published view.
#[divan::bench(args = NODES, sample_count = 100)]
fn publish_one_report(bencher: Bencher<'_, '_>, nodes: u64) {
    let mut tailnet = BenchTailnet::new(nodes);
    let mut round = 0;
    bencher.bench_local(|| {
        round += 1;
        black_box(tailnet.report(2, round))
    });
}

/// What one other node is told of that report.
#[divan::bench(args = NODES, sample_count = 100)]
fn tell_one_report(bencher: Bencher<'_, '_>, nodes: u64) {
    let mut tailnet = BenchTailnet::new(nodes);
    let changes = tailnet.report(2, 1);
    let difference = Difference::find(&tailnet.view, &changes);
    bencher.bench_local(|| {
        black_box(build_delta(
            &tailnet.view,
            &difference,
            node_id(1),
            DateTime::UNIX_EPOCH,
        ))
    });
}

/// Whom that report concerns, found once for all nodes.
#[divan::bench(args = NODES, sample_count = 100)]
fn find_one_report(bencher: Bencher<'_, '_>, nodes: u64) {
    let mut tailnet = BenchTailnet::new(nodes);
    let changes = tailnet.report(2, 1);
    bencher.bench_local(|| {
        let difference = Difference::find(&tailnet.view, &changes);
        black_box(difference.concerned_nodes(&tailnet.view))
    });
}

fn keep<T>(
    mut tailnet: BenchTailnet,
    kept: impl Fn(&BenchTailnet, Arc<ChangeSet>) -> T,
) -> (BenchTailnet, Vec<T>) {
    let nodes = tailnet.view.nodes.len() as u64;
    let mut all = Vec::with_capacity(GENERATIONS as usize);
    for round in 0..GENERATIONS {
        let changes = tailnet.report(round * 37 % nodes + 1, round);
        all.push(kept(&tailnet, changes));
    }
    (tailnet, all)
}

#[divan::bench(args = NODES, sample_count = 3)]
fn keep_change_sets(bencher: Bencher<'_, '_>, nodes: u64) {
    let bencher = bencher.with_inputs(|| BenchTailnet::new(nodes));
    bencher.bench_local_values(|tailnet| keep(tailnet, |_, changes| changes));
}

#[divan::bench(args = NODES, sample_count = 3)]
fn keep_views(bencher: Bencher<'_, '_>, nodes: u64) {
    let bencher = bencher.with_inputs(|| BenchTailnet::new(nodes));
    bencher.bench_local_values(|tailnet| keep(tailnet, |tailnet, _| Arc::clone(&tailnet.view)));
}

#[divan::bench(args = NODES, sample_count = 100)]
fn derive_one(bencher: Bencher<'_, '_>, nodes: u64) {
    let mut tailnet = BenchTailnet::new(nodes);
    let before = Arc::clone(&tailnet.view);
    tailnet.report(2, 1);
    bencher.bench_local(|| black_box(differing(&before, &tailnet.view)));
}

/// Counts what differs between two views, table by table.
fn differing(before: &View, now: &View) -> usize {
    let (was, is) = (&before.compiled, &now.compiled);
    before.nodes.diff(&now.nodes).count()
        + before.users.diff(&now.users).count()
        + was.classes.diff(&is.classes).count()
        + was.settings.diff(&is.settings).count()
        + was.lists.diff(&is.lists).count()
        + was.routes.diff(&is.routes).count()
        + was.vias.diff(&is.vias).count()
        + usize::from(!Arc::ptr_eq(&before.tailnet, &now.tailnet))
        + usize::from(!Arc::ptr_eq(&was.common_filter, &is.common_filter))
}

/// Prints how the costs grow with the number of nodes.
#[expect(clippy::print_stdout, reason = "a benchmark's output")]
fn growth() {
    println!(
        "\n{:>8} {:>12} {:>12} {:>12} {:>12}",
        "nodes", "alone", "glued warm", "publish", "bytes"
    );
    for nodes in NODES {
        let mut tailnet = BenchTailnet::new(nodes);
        let blocks = tailnet.blocks();
        tailnet.glued(&blocks, nodes);
        let alone = median(|| tailnet.alone(1));
        let bytes = tailnet.glued(&blocks, 1);
        let glued = median(|| tailnet.glued(&blocks, 1));
        let mut round = 0;
        let publish = median(|| {
            round += 1;
            tailnet.report(2, round)
        });
        println!("{nodes:>8} {alone:>12.1?} {glued:>12.1?} {publish:>12.1?} {bytes:>12}");
    }
}

fn median<T>(mut work: impl FnMut() -> T) -> std::time::Duration {
    let mut times: Vec<_> = (0..11)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[5]
}

struct BenchTailnet {
    replica: Replica,
    view: Arc<View>,
    first: Arc<ChangeSet>,
}

impl BenchTailnet {
    fn new(nodes: u64) -> Self {
        let mut replica = Replica::new(FilterSources::Addresses);
        let tailnet = Tailnet {
            id: 1,
            name: "bench".to_owned(),
            magic_dns_suffix: "bench.test".to_owned(),
            ..Tailnet::default()
        };
        let user = |id| User {
            id,
            login_name: format!("user{id}@example.com"),
            ..User::default()
        };
        replica.apply_identity_snapshot(vec![IdentitySnapshot {
            revision: 1,
            tailnet: Some(tailnet),
            users: (1..=nodes / 3 + 1).map(user).collect(),
            last: true,
            ..IdentitySnapshot::default()
        }]);
        replica.apply_registry_snapshot(vec![RegistrySnapshot {
            revision: 1,
            nodes: (1..=nodes).map(node).collect(),
            soft: (1..=nodes)
                .map(|id| SoftState {
                    node_id: id,
                    ..SoftState::default()
                })
                .collect(),
            last: true,
            ..RegistrySnapshot::default()
        }]);
        let class = Class {
            id: 1,
            selectors: vec![0],
            sees: vec![0],
            ..Class::default()
        };
        let member = |node_id| Membership {
            node_id,
            class_id: 1,
            settings_id: 1,
        };
        replica.apply_compiled(vec![CompiledUpdate {
            full: true,
            last: true,
            stamp: Some(Stamp {
                policy_version: 1,
                registry_revision: 1,
                identity_revision: 1,
            }),
            classes: vec![class],
            settings: vec![Settings {
                id: 1,
                ..Settings::default()
            }],
            memberships: (1..=nodes).map(member).collect(),
            ..CompiledUpdate::default()
        }]);
        let (view, first) = replica.publish().expect("a complete tailnet");
        Self {
            replica,
            view,
            first,
        }
    }

    fn blocks(&self) -> PeerBlocks {
        let blocks = PeerBlocks::default();
        let difference = Difference::find(&self.view, &self.first);
        blocks.note_difference(&self.view, &difference);
        blocks
    }

    /// Returns the length of the frame.
    fn alone(&self, id: u64) -> usize {
        let message = build_full(
            &self.view,
            node_id(id),
            &DerpMap::default(),
            DateTime::UNIX_EPOCH,
        )
        .expect("shown");
        DIALECT.encode(message).expect("a frame").len()
    }

    fn glued(&self, blocks: &PeerBlocks, id: u64) -> usize {
        let (relays, now) = (DerpMap::default(), DateTime::UNIX_EPOCH);
        let frame = blocks.first_frame(&self.view, node_id(id), &relays, DIALECT, now);
        frame.expect("a frame").expect("of shared blocks").len()
    }

    /// Reports another endpoint of a node, and returns what differs.
    fn report(&mut self, id: u64, round: u64) -> Arc<ChangeSet> {
        let endpoint = Endpoint {
            address: format!("192.0.2.1:{}", 1024 + round % 60_000),
            kind: 1,
        };
        let report = ClientReport {
            endpoints: vec![endpoint],
            sequence: round,
            ..ClientReport::default()
        };
        self.replica.apply_report(node_id(id), report);
        let (view, changes) = self.replica.publish().expect("a change");
        self.view = view;
        changes
    }
}

fn node_id(number: u64) -> NodeId {
    NodeId::try_from(number).expect("the number of a node")
}

fn node(id: u64) -> Node {
    let mut key = vec![0; 24];
    key.extend(id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Node {
        id,
        tailnet_id: 1,
        user_id: id % (id / 3 + 1) + 1,
        machine_key: key.clone(),
        node_key: key,
        name: format!("host-{id}"),
        hostname: format!("host-{id}"),
        os: "linux".to_owned(),
        ipv4: format!("100.{}.{}.{}", 64 + id / 65_536, id / 256 % 256, id % 256),
        ipv6: format!("fd7a:115c:a1e0::{id:x}"),
        approved: true,
        ..Node::default()
    }
}
