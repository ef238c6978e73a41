//! First messages put together from parts that many sessions share.
//!
//! ```text
//! {…,"Peers":[ ─▶ block 0 ─▶ , ─▶ block 1 ─▶ … ─▶ ]}        each part compressed by itself
//!   own               shared by class                          (several zstd frames in a row read as one)
//! ```
//!
//! A block is the peers with neighbouring numbers as nodes of one class see them; where some are seen only by other
//! devices of their user, as the nodes of the class that are this user's see them. It is made once and kept until a node
//! with one of these numbers differs. The block with the session's own node comes in smaller parts. Of these one is made
//! for the session alone, so that a node is never among its own peers; the others are kept for the block's other nodes.

mod numbers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_control_wire::{
    Compression, DerpMap, FrameError, MapResponse, dialect, encode_frame, encode_payload,
};
use bowline_ids::{NodeId, UserId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};

use numbers::{BLOCK, BlockNumbers, NumberedPeers};

use super::Dialect;
use crate::{
    difference::Difference,
    message::{self, Viewer},
    view::{ClassId, FilterSources, Generation, View},
};

/// How many bytes of blocks are kept for each tailnet.
const BUDGET: usize = 64 << 20;
/// About how many bytes a block takes besides what it holds.
const OVERHEAD: usize = 256;

/// The kept blocks of one tailnet, and since when each is what it is.
#[derive(Debug, Default)]
pub struct PeerBlocks(Mutex<BlockTable>);

#[derive(Debug, Default)]
struct BlockTable {
    /// The generation at which all that is told of nodes differed last.
    all_since: Generation,
    /// The generation at which a node of each of the shortest blocks differed last, for those that have nodes.
    since: BTreeMap<u64, Generation>,
    /// The generation at which one of these blocks was last left by its nodes.
    left_at: Generation,
    /// The generation at which each class came, or what it sees differed last.
    defined: BTreeMap<ClassId, Generation>,
    kept: BTreeMap<BlockKey, Arc<PeerBlock>>,
    bytes: usize,
}

/// What makes a block the same for several sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BlockKey {
    class: ClassId,
    /// The user whose devices see each other there, though their class does not see them; `None` in most blocks.
    user: Option<UserId>,
    numbers: BlockNumbers,
    compression: Compression,
}

/// Some peers, encoded.
#[derive(Debug)]
struct PeerBlock {
    /// The generation of the view it was made from.
    generation: Generation,
    /// JSON objects with commas between them, compressed; empty without peers.
    payload: Vec<u8>,
    /// Whom the peers belong to.
    users: BTreeSet<UserId>,
}

impl PeerBlocks {
    /// Notes what differs in a view, before it is published.
    pub fn note_difference(&self, view: &View, difference: &Difference) {
        let mut state = self.state();
        let (generation, changes) = (view.generation, &difference.changes);
        if changes.everything {
            state.all_since = generation;
        }
        let short_block = |id| BlockNumbers::around(id, BLOCK);
        let blocks: BTreeSet<_> = difference.peers.all().map(short_block).collect();
        let (here, left): (BTreeSet<_>, BTreeSet<_>) =
            blocks.into_iter().partition(|block| block.has_nodes(view));
        let classes = changes.classes.keys().copied();
        let (defined, gone): (BTreeSet<_>, BTreeSet<_>) =
            classes.partition(|id| view.compiled.classes.contains_key(id));
        state
            .since
            .extend(here.into_iter().map(|block| (block.number(), generation)));
        state
            .defined
            .extend(defined.into_iter().map(|id| (id, generation)));
        if !left.is_empty() {
            state.left_at = generation;
        }
        for block in &left {
            state.since.remove(&block.number());
        }
        for id in &gone {
            state.defined.remove(id);
        }
        if !(left.is_empty() && gone.is_empty()) {
            state.retain(|key, _| !gone.contains(&key.class) && !left.contains(&key.numbers));
        }
    }

    /// Returns the first frame of a session from shared parts; `None` when the node sees otherwise than its class or
    /// nobody, or its client wants another form.
    ///
    /// # Errors
    ///
    /// When it can not be compressed.
    pub fn first_frame(
        &self,
        view: &View,
        id: NodeId,
        derp_map: &DerpMap,
        dialect: Dialect,
        now: DateTime<Utc>,
    ) -> Result<Option<Bytes>, FrameError> {
        let Some(viewer) = Viewer::now(view, id).filter(|viewer| sees_as_its_class(*viewer)) else {
            return Ok(None);
        };
        if !dialect::is_current(dialect.version) {
            return Ok(None);
        }
        let own_devices = view.devices_of_user(viewer.own.user());
        let seen_as_own: BTreeSet<_> = own_devices
            .filter(|device| viewer.sees_only_as_own(*device))
            .collect();
        let peers = NumberedPeers::of(viewer);
        let key = |block: BlockNumbers, numbers| BlockKey {
            class: viewer.own.class,
            user: viewer
                .own
                .user()
                .filter(|_| block.has_some_of(&seen_as_own)),
            numbers,
            compression: dialect.compression,
        };
        let mut blocks = Vec::new();
        for block in peers.blocks() {
            if !block.contains(id) {
                blocks.push(self.shared_block(&peers, key(block, block))?);
                continue;
            }
            for part in block.parts() {
                let key = key(block, part);
                blocks.push(match part.contains(id) {
                    true => Arc::new(encode_block(&peers, key)?),
                    false => self.shared_block(&peers, key)?,
                });
            }
        }
        let mut users = BTreeSet::from([message::owner_id(&viewer.own.node)]);
        blocks.retain(|block| !block.payload.is_empty());
        users.extend(blocks.iter().flat_map(|block| &block.users));
        if blocks.is_empty() {
            return Ok(None);
        }
        let message = message::full_without_peers(viewer, users, derp_map, now);
        join_blocks(&message, &blocks, dialect.compression).map(Some)
    }

    /// Returns a block as it was made for another session, or makes it.
    fn shared_block(
        &self,
        peers: &NumberedPeers<'_>,
        key: BlockKey,
    ) -> Result<Arc<PeerBlock>, FrameError> {
        let generation = peers.generation();
        {
            let state = self.state();
            let since = state.changed_at(key);
            let kept = state.kept.get(&key);
            if let Some(kept) = kept.filter(|kept| since <= kept.generation.min(generation)) {
                return Ok(Arc::clone(kept));
            }
        }
        let made = Arc::new(encode_block(peers, key)?);
        self.state().keep(key, Arc::clone(&made));
        Ok(made)
    }

    fn state(&self) -> MutexGuard<'_, BlockTable> {
        self.0.lock()
    }
}

impl BlockTable {
    /// Returns since when a block is what it is.
    fn changed_at(&self, key: BlockKey) -> Generation {
        let blocks = key.numbers.short_blocks();
        let all = usize::try_from(blocks.end - blocks.start).unwrap_or(usize::MAX);
        let with_nodes = self.since.range(blocks).map(|(_, since)| *since);
        let is_full = with_nodes.clone().count() == all;
        let left_at = (!is_full).then_some(self.left_at);
        let block = with_nodes.chain(left_at).max().unwrap_or_default();
        // A class that the newest view does not have may be asked for from a view before.
        let class = self
            .defined
            .get(&key.class)
            .copied()
            .unwrap_or(Generation(u64::MAX));
        block.max(class).max(self.all_since)
    }

    fn keep(&mut self, key: BlockKey, block: Arc<PeerBlock>) {
        self.bytes += block.estimate_bytes();
        if let Some(before) = self.kept.insert(key, block) {
            self.bytes -= before.estimate_bytes();
        }
        if self.bytes > BUDGET {
            // The half that is out of date the longest goes.
            let mut generations: Vec<_> = self.kept.values().map(|kept| kept.generation).collect();
            generations.sort_unstable();
            let oldest = generations[generations.len() / 2];
            self.retain(|_, kept| kept.generation > oldest);
        }
    }

    fn retain(&mut self, stays: impl Fn(&BlockKey, &PeerBlock) -> bool) {
        self.kept.retain(|key, kept| stays(key, kept));
        self.bytes = self.kept.values().map(|kept| kept.estimate_bytes()).sum();
    }
}

impl PeerBlock {
    /// Returns about how many bytes it takes.
    fn estimate_bytes(&self) -> usize {
        OVERHEAD + self.payload.len() + self.users.len() * size_of::<u64>()
    }
}

/// Says whether a node sees what it sees just as all of its class do, but for its user's devices that only they see.
fn sees_as_its_class(viewer: Viewer<'_>) -> bool {
    viewer.own.offered
        && viewer.class.vias.is_empty()
        && viewer.own.usable_routes().next().is_none()
        && !viewer.hides_ipv4_of(viewer.own)
        && viewer.at.view.sources == FilterSources::Addresses
}

/// Encodes the peers of a block.
fn encode_block(peers: &NumberedPeers<'_>, key: BlockKey) -> Result<PeerBlock, FrameError> {
    let mut users = BTreeSet::new();
    let mut json = Vec::new();
    for peer in peers.peers(key.numbers) {
        users.insert(message::owner_id(&peer.node));
        if !json.is_empty() {
            json.push(b',');
        }
        message::append_peer(peers.viewer, peer, &mut json).map_err(std::io::Error::from)?;
    }
    let payload = if json.is_empty() {
        json
    } else {
        encode_payload(&json, key.compression)?
    };
    Ok(PeerBlock {
        generation: peers.generation(),
        payload,
        users,
    })
}

/// Puts a message without peers and its blocks of peers together.
fn join_blocks(
    message: &MapResponse,
    blocks: &[Arc<PeerBlock>],
    compression: Compression,
) -> Result<Bytes, FrameError> {
    let mut head = serde_json::to_vec(message).map_err(std::io::Error::from)?;
    // The message is an object with members: its peers come last.
    head.pop();
    head.extend_from_slice(b",\"Peers\":[");
    let head = encode_payload(&head, compression)?;
    let comma = encode_payload(b",", compression)?;
    let end = encode_payload(b"]}", compression)?;
    let mut parts: Vec<&[u8]> = vec![&head];
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 {
            parts.push(&comma);
        }
        parts.push(&block.payload);
    }
    parts.push(&end);
    encode_frame(&parts)
}

#[cfg(test)]
mod tests;
