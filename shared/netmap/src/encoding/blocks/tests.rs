use bowline_control_wire::{CapabilityVersion, decode_frame};
use bowline_proto::{
    identity::v1::{Tailnet, identity_change::Change},
    key_registry::v1::Node,
    policy::v1::Class,
};

use super::*;
use crate::fixture::{self, TestTailnet, compiled, node, node_id};

/// Some in each of three blocks.
const NODES: u64 = 300;
const DIALECT: Dialect = Dialect {
    version: CapabilityVersion(140),
    compression: Compression::Zstd,
};

/// Returns the blocks after all devices of a user have got their first frames, and these; `limit` says what their class sees.
fn send_first_frames(limit: impl FnOnce(&mut Class)) -> (PeerBlocks, Vec<Bytes>) {
    let (lab, blocks) = build_tailnet(|_| 7, limit);
    let frames = (1..=NODES).map(|id| first_frame(&lab, &blocks, id));
    let frames = frames.collect();
    (blocks, frames)
}

/// Returns a tailnet whose nodes belong to users, and its blocks.
fn build_tailnet(
    user_of: impl Fn(u64) -> u64,
    limit: impl FnOnce(&mut Class),
) -> (TestTailnet, PeerBlocks) {
    let mut lab = TestTailnet::unpublished(FilterSources::Addresses);
    for user in (3..=NODES).map(&user_of).collect::<BTreeSet<_>>() {
        lab.identity(Change::User(fixture::user(user)));
    }
    for id in 3..=NODES {
        let mut key = vec![7; 24];
        key.extend(id.to_be_bytes());
        lab.put(Node {
            id,
            user_id: user_of(id),
            machine_key: key.clone(),
            node_key: key,
            ipv4: format!("100.64.{}.{}", id / 256, id % 256),
            ..node(id % 100)
        });
    }
    let members: Vec<_> = (1..=NODES).collect();
    let mut policy = compiled(lab.revision, &members, true);
    limit(&mut policy.classes[0]);
    lab.replica.apply_compiled(vec![policy]);
    let changes = lab.publish();
    let blocks = PeerBlocks::default();
    blocks.note_difference(&lab.view, &Difference::find(&lab.view, &changes));
    (lab, blocks)
}

fn first_frame(lab: &TestTailnet, blocks: &PeerBlocks, id: u64) -> Bytes {
    let (relays, now) = (DerpMap::default(), DateTime::UNIX_EPOCH);
    let frame = blocks.first_frame(&lab.view, node_id(id), &relays, DIALECT, now);
    frame.unwrap().expect("a frame of blocks")
}

fn peers_in(frame: Bytes) -> Vec<bowline_control_wire::Node> {
    let frame = decode_frame(&mut frame.into(), Compression::Zstd, 16 << 20);
    let json = frame.unwrap().expect("a whole frame");
    let message: MapResponse = serde_json::from_slice(&json).unwrap();
    message.peers
}

fn kept_for(blocks: &PeerBlocks) -> Vec<(Option<UserId>, u64)> {
    let state = blocks.state();
    state
        .kept
        .keys()
        .filter(|key| key.numbers.length == BLOCK)
        .map(|key| (key.user, key.numbers.number()))
        .collect()
}

#[test]
fn all_nodes_of_a_class_share_blocks_their_user_s_devices_among_them() {
    let (blocks, _) = send_first_frames(|_| {});
    assert_eq!(kept_for(&blocks), [(None, 0), (None, 1), (None, 2)]);
}

#[test]
fn devices_that_only_their_user_s_see_share_blocks_of_that_user() {
    let (blocks, _) = send_first_frames(|class| {
        class.sees.clear();
        class.sees_own = true;
    });
    let user = UserId::try_from(7_u64).ok();
    assert_eq!(kept_for(&blocks), [(user, 0), (user, 1), (user, 2)]);
}

#[test]
fn first_frame_has_all_peers_and_never_oneself_wherever_the_node_is_in_its_block() {
    let (_, frames) = send_first_frames(|_| {});
    for (id, frame) in (1..=NODES).zip(frames) {
        let peers: Vec<_> = peers_in(frame).iter().map(|peer| peer.id).collect();
        let others: Vec<_> = (1..=NODES).filter(|other| *other != id).collect();
        assert_eq!(peers, others, "of node {id}");
    }
}

/// Every hundredth node is of user 8, whose devices see nobody else.
fn build_sparse_tailnet() -> (TestTailnet, PeerBlocks) {
    let user_of = |id: u64| if id.is_multiple_of(100) { 8 } else { 7 };
    build_tailnet(user_of, |class| {
        class.sees.clear();
        class.sees_own = true;
    })
}

#[test]
fn viewer_of_few_nodes_has_few_blocks_however_far_apart_their_numbers_are() {
    let (lab, blocks) = build_sparse_tailnet();
    let peers = peers_in(first_frame(&lab, &blocks, 100));
    let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
    assert_eq!(ids, [200, 300]);
    let state = blocks.state();
    let lengths: BTreeSet<_> = state.kept.keys().map(|key| key.numbers.length).collect();
    // 299 numbers for three nodes: a block is 128 times as long as the shortest, and the node's own is in eight parts.
    assert_eq!(lengths, BTreeSet::from([128 * BLOCK / 8]));
    assert_eq!(state.kept.len(), 7);
}

#[test]
fn node_is_encoded_anew_when_its_facts_or_those_of_its_tailnet_differ() {
    let (mut lab, blocks) = build_sparse_tailnet();
    let name_of_200 = |lab: &mut TestTailnet| {
        let changes = lab.publish();
        blocks.note_difference(&lab.view, &Difference::find(&lab.view, &changes));
        let peers = peers_in(first_frame(lab, &blocks, 100));
        peers[0].name.clone()
    };
    let before = name_of_200(&mut lab);
    assert!(before.ends_with(".home.test."), "{before}");
    let tailnet = Tailnet {
        magic_dns_suffix: "office.test".to_owned(),
        ..(*lab.view.tailnet).clone()
    };
    lab.identity(Change::Tailnet(tailnet));
    let moved = name_of_200(&mut lab);
    assert_eq!(moved, before.replace("home", "office"));
    let node = (*lab.view.nodes[&node_id(200)].node).clone();
    lab.put(Node {
        name: "renamed".to_owned(),
        ..node
    });
    assert_eq!(name_of_200(&mut lab), "renamed.office.test.");
}
