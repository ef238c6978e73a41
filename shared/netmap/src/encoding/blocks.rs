//! First messages put together from parts that many sessions share.
//!
//! ```text
//! {…,"Peers":[ ─▶ block 0 ─▶ , ─▶ block 1 ─▶ … ─▶ ]}        each part compressed by itself
//!   own               shared by class                          (several zstd frames in a row read as one)
//! ```
//!
//! A block is the peers with neighbouring numbers as nodes of one class see them; where some are seen only by other
//! devices of their user, as the nodes of the class that are this user's see them. It is made once and kept until one of
//! its nodes differs. The block with the session's own node comes in smaller parts. Of these one is made for the session
//! alone, so that a node is never among its own peers; the others are kept for the block's other nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use bowline_control_wire::{
    Compression, DerpMap, FrameError, MapResponse, dialect, encode_frame, encode_payload,
};
use bowline_ids::{NodeId, UserId};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};

use super::Dialect;
use crate::{
    difference::Difference,
    message::{self, Viewer},
    view::{ClassId, FilterSources, Generation, ShownNode, View},
};

/// How many numbers of nodes are one block.
const BLOCK: u64 = 128;
/// How many numbers of nodes are one part of a block.
const PART: u64 = 16;
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
    /// The generation at which a node of each block differed last, for the blocks that have nodes.
    since: BTreeMap<u64, Generation>,
    /// The generation at which a block was last left by its nodes.
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
    number: u64,
    /// Which part of the block; `None` for the whole.
    part: Option<u64>,
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
        let blocks: BTreeSet<_> = difference.peers.all().map(block_of).collect();
        let (here, left): (BTreeSet<_>, BTreeSet<_>) = blocks
            .into_iter()
            .partition(|number| has_nodes(view, *number));
        let classes = changes.classes.keys().copied();
        let (defined, gone): (BTreeSet<_>, BTreeSet<_>) =
            classes.partition(|id| view.compiled.classes.contains_key(id));
        state
            .since
            .extend(here.into_iter().map(|number| (number, generation)));
        state
            .defined
            .extend(defined.into_iter().map(|id| (id, generation)));
        if !left.is_empty() {
            state.left_at = generation;
        }
        for number in &left {
            state.since.remove(number);
        }
        for id in &gone {
            state.defined.remove(id);
        }
        if !(left.is_empty() && gone.is_empty()) {
            state.retain(|key, _| !gone.contains(&key.class) && !left.contains(&key.number));
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
            .map(block_of)
            .collect();
        let mut users = BTreeSet::from([message::owner_id(&viewer.own.node)]);
        let mut blocks = Vec::new();
        for number in block_numbers(view) {
            let whole = BlockKey {
                class: viewer.own.class,
                user: viewer.own.user().filter(|_| seen_as_own.contains(&number)),
                number,
                part: None,
                compression: dialect.compression,
            };
            if number != block_of(id) {
                blocks.push(self.shared_block(viewer, whole)?);
                continue;
            }
            for part in 0..BLOCK / PART {
                let key = BlockKey {
                    part: Some(part),
                    ..whole
                };
                blocks.push(match key.numbers().contains(&id.get()) {
                    true => Arc::new(encode_block(viewer, key)?),
                    false => self.shared_block(viewer, key)?,
                });
            }
        }
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
        viewer: Viewer<'_>,
        key: BlockKey,
    ) -> Result<Arc<PeerBlock>, FrameError> {
        let generation = viewer.at.view.generation;
        {
            let state = self.state();
            let since = state.changed_at(key);
            let kept = state.kept.get(&key);
            if let Some(kept) = kept.filter(|kept| since <= kept.generation.min(generation)) {
                return Ok(Arc::clone(kept));
            }
        }
        let made = Arc::new(encode_block(viewer, key)?);
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
        let since = self.since.get(&key.number).copied();
        let block = since.unwrap_or(self.left_at);
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

impl BlockKey {
    /// Returns the numbers of its nodes.
    fn numbers(&self) -> Range<u64> {
        let first = self.number * BLOCK;
        match self.part {
            None => first..first + BLOCK,
            Some(part) => first + part * PART..first + (part + 1) * PART,
        }
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

/// Returns the number of the block that a node is in.
const fn block_of(id: NodeId) -> u64 {
    id.get() / BLOCK
}

/// Returns the numbers of the blocks that have nodes, ascending.
fn block_numbers(view: &View) -> impl Iterator<Item = u64> {
    let first = |number| nodes_in_range(view, number * BLOCK..u64::MAX).next();
    let first = move |number| first(number).map(|(id, _)| block_of(*id));
    std::iter::successors(first(0), move |number| first(number + 1))
}

/// Says whether a block has nodes.
fn has_nodes(view: &View, number: u64) -> bool {
    let numbers = number * BLOCK..(number + 1) * BLOCK;
    nodes_in_range(view, numbers).next().is_some()
}

/// Returns the nodes with some numbers, ascending.
fn nodes_in_range(view: &View, numbers: Range<u64>) -> impl Iterator<Item = (&NodeId, &ShownNode)> {
    // There is no node zero.
    let first = NodeId::try_from(numbers.start.max(1)).ok();
    let nodes = first.into_iter();
    let nodes = nodes.flat_map(|first| view.nodes.range(first..));
    nodes.take_while(move |(id, _)| id.get() < numbers.end)
}

/// Encodes the peers of a block.
fn encode_block(viewer: Viewer<'_>, key: BlockKey) -> Result<PeerBlock, FrameError> {
    let nodes = nodes_in_range(viewer.at.view, key.numbers());
    let peers = nodes.filter_map(|(peer, _)| viewer.visible_peer(*peer));
    let mut users = BTreeSet::new();
    let mut json = Vec::new();
    for peer in peers {
        users.insert(message::owner_id(&peer.node));
        if !json.is_empty() {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &message::peer_node(viewer, peer))
            .map_err(std::io::Error::from)?;
    }
    let payload = if json.is_empty() {
        json
    } else {
        encode_payload(&json, key.compression)?
    };
    Ok(PeerBlock {
        generation: viewer.at.view.generation,
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
