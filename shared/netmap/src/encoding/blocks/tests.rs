use bowline_control_wire::{CapabilityVersion, decode_frame};
use bowline_proto::{key_registry::v1::Node, policy::v1::Class};

use super::*;
use crate::fixture::{TestTailnet, compiled, node, node_id};

/// Some in each of three blocks.
const NODES: u64 = 300;
const DIALECT: Dialect = Dialect {
    version: CapabilityVersion(140),
    compression: Compression::Zstd,
};

/// Returns the blocks after all devices of a user have got their first frames, and these; `limit` says what their class sees.
fn send_first_frames(limit: impl FnOnce(&mut Class)) -> (PeerBlocks, Vec<Bytes>) {
    let mut lab = TestTailnet::unpublished(FilterSources::Addresses);
    for id in 3..=NODES {
        let mut key = vec![7; 24];
        key.extend(id.to_be_bytes());
        lab.put(Node {
            id,
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
    let frames = (1..=NODES).map(|id| {
        let (relays, now) = (DerpMap::default(), DateTime::UNIX_EPOCH);
        let frame = blocks.first_frame(&lab.view, node_id(id), &relays, DIALECT, now);
        frame.unwrap().expect("a frame of blocks")
    });
    let frames = frames.collect();
    (blocks, frames)
}

fn kept_for(blocks: &PeerBlocks) -> Vec<(Option<UserId>, u64)> {
    let state = blocks.state();
    state
        .kept
        .keys()
        .filter(|key| key.part.is_none())
        .map(|key| (key.user, key.number))
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
        let frame = decode_frame(&mut frame.into(), Compression::Zstd, 16 << 20);
        let json = frame.unwrap().expect("a whole frame");
        let message: MapResponse = serde_json::from_slice(&json).unwrap();
        let peers: Vec<_> = message.peers.iter().map(|peer| peer.id).collect();
        let others: Vec<_> = (1..=NODES).filter(|other| *other != id).collect();
        assert_eq!(peers, others, "of node {id}");
    }
}
