//! First messages put together from parts that many sessions share.
//!
//! ```text
//! {…,"Peers":[ ─▶ block 0 ─▶ , ─▶ block 1 ─▶ … ─▶ ]}        each part compressed by itself
//!   own               shared by class                          (several zstd frames in a row read as one)
//! ```
//!
//! A block is the peers with neighbouring numbers as nodes of one class see them. It is made once and kept until one
//! of its nodes differs; the blocks with the session's own node or its user's devices are made for it alone, so that a
//! node is never among its own peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use bowline_control_wire::{
    Compression, DerpMap, FrameError, MapResponse, dialect, frame, frame_payload,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Dialect;
use crate::{
    netmap::{self, Eyes},
    tailnet::{ChangeSet, Shown, Sources, View},
};

/// How many numbers of nodes are one block.
const BLOCK: u64 = 128;
/// How many bytes of blocks are kept for each tailnet.
const BUDGET: usize = 64 << 20;

/// The kept blocks of one tailnet, and since when each is what it is.
#[derive(Debug, Default)]
pub struct Blocks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The generation at which more than single nodes differed last.
    all_since: u64,
    /// The generation at which a node of each block differed last.
    since: BTreeMap<u64, u64>,
    kept: BTreeMap<Key, Arc<Block>>,
    bytes: usize,
}

/// What makes a block the same for several sessions: the class, the block, the compression.
type Key = (u64, u64, Compression);

/// Some peers, encoded.
#[derive(Debug)]
struct Block {
    /// The generation of the view it was made from.
    generation: u64,
    /// JSON objects with commas between them, compressed; empty without peers.
    payload: Vec<u8>,
    /// Whom the peers belong to.
    users: BTreeSet<u64>,
}

impl Blocks {
    /// Notes what differs in a view, before it is published.
    pub fn note(&self, view: &View, changes: &ChangeSet) {
        let mut state = self.state();
        let generation = view.generation;
        for id in changes.nodes.keys() {
            state.since.insert(id / BLOCK, generation);
        }
        // What is new or gone comes and goes with nodes; what is otherwise than before does not.
        let compiled = &view.compiled;
        let redefined = changes.tailnet
            || !changes.vias.is_empty()
            || changes
                .classes
                .iter()
                .any(|(id, before)| before.is_some() && compiled.classes.contains_key(id))
            || changes
                .settings
                .iter()
                .any(|(id, before)| before.is_some() && compiled.settings.contains_key(id))
            || changes
                .routes
                .iter()
                .any(|(id, before)| before.is_some() && compiled.routes.contains_key(id));
        if redefined {
            state.all_since = generation;
        }
    }

    /// Returns the first frame of a session from shared parts; `None` when the node sees otherwise than its class, or
    /// its client wants another form.
    ///
    /// # Errors
    ///
    /// When it can not be compressed.
    pub fn first_frame(
        &self,
        view: &View,
        id: u64,
        derp_map: &DerpMap,
        (dialect, now): (Dialect, DateTime<Utc>),
    ) -> Result<Option<Bytes>, FrameError> {
        let Some(eyes) = Eyes::now(view, id).filter(|eyes| sees_as_its_class(*eyes)) else {
            return Ok(None);
        };
        if !dialect::is_current(dialect.version) {
            return Ok(None);
        }
        let own: BTreeSet<_> = view
            .devices(eyes.own.user())
            .chain([id])
            .map(|id| id / BLOCK)
            .collect();
        let numbers: Vec<_> = self.state().since.keys().copied().collect();
        let mut users = BTreeSet::from([netmap::owner(&eyes.own.node)]);
        let mut blocks = Vec::new();
        for number in numbers {
            let block = if own.contains(&number) {
                let peers = range(view, number).filter_map(|(peer, _)| eyes.peer(*peer));
                Arc::new(block(eyes, peers, dialect.compression)?)
            } else {
                self.shared(eyes, number, dialect.compression)?
            };
            users.extend(&block.users);
            if !block.payload.is_empty() {
                blocks.push(block);
            }
        }
        let message = netmap::head(eyes, users, derp_map, now);
        glue(&message, &blocks, dialect.compression).map(Some)
    }

    /// Returns a block as it was made for another session of the class, or makes it.
    fn shared(
        &self,
        eyes: Eyes<'_>,
        number: u64,
        compression: Compression,
    ) -> Result<Arc<Block>, FrameError> {
        let view = eyes.look.view;
        let key = (eyes.own.class, number, compression);
        {
            let state = self.state();
            let since = state
                .since
                .get(&number)
                .copied()
                .unwrap_or_default()
                .max(state.all_since);
            let kept = state.kept.get(&key);
            if let Some(kept) = kept.filter(|kept| since <= kept.generation.min(view.generation)) {
                return Ok(Arc::clone(kept));
            }
        }
        let peers = range(view, number).filter_map(|(peer, _)| eyes.peer(*peer));
        let made = Arc::new(block(eyes, peers, compression)?);
        self.state().keep(key, Arc::clone(&made));
        Ok(made)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, key: Key, block: Arc<Block>) {
        self.bytes += block.payload.len();
        if let Some(before) = self.kept.insert(key, block) {
            self.bytes -= before.payload.len();
        }
        if self.bytes > BUDGET {
            // The half that is out of date the longest goes.
            let mut generations: Vec<_> = self.kept.values().map(|kept| kept.generation).collect();
            generations.sort_unstable();
            let oldest = generations[generations.len() / 2];
            self.kept.retain(|_, kept| kept.generation > oldest);
            self.bytes = self.kept.values().map(|kept| kept.payload.len()).sum();
        }
    }
}

/// Says whether a node sees every node but its user's devices just as all of its class do.
fn sees_as_its_class(eyes: Eyes<'_>) -> bool {
    eyes.own.offered
        && eyes.class.vias.is_empty()
        && eyes.own.usable_routes().next().is_none()
        && !eyes.hides_ipv4_of(eyes.own)
        && eyes.look.view.sources == Sources::Addresses
}

fn range(view: &View, number: u64) -> impl Iterator<Item = (&u64, &Shown)> {
    view.nodes.range(number * BLOCK..(number + 1) * BLOCK)
}

/// Encodes some peers.
fn block<'v>(
    eyes: Eyes<'_>,
    peers: impl Iterator<Item = &'v Shown>,
    compression: Compression,
) -> Result<Block, FrameError> {
    let mut users = BTreeSet::new();
    let mut json = Vec::new();
    for peer in peers {
        users.insert(netmap::owner(&peer.node));
        if !json.is_empty() {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &netmap::peer(eyes, peer))
            .map_err(std::io::Error::from)?;
    }
    let payload = if json.is_empty() {
        json
    } else {
        frame_payload(&json, compression)?
    };
    Ok(Block {
        generation: eyes.look.view.generation,
        payload,
        users,
    })
}

/// Puts a message without peers and its blocks of peers together.
fn glue(
    message: &MapResponse,
    blocks: &[Arc<Block>],
    compression: Compression,
) -> Result<Bytes, FrameError> {
    let mut head = serde_json::to_vec(message).map_err(std::io::Error::from)?;
    if blocks.is_empty() {
        return frame(&[&frame_payload(&head, compression)?]);
    }
    // The message is an object with members: its peers come last.
    head.pop();
    head.extend_from_slice(b",\"Peers\":[");
    let head = frame_payload(&head, compression)?;
    let comma = frame_payload(b",", compression)?;
    let end = frame_payload(b"]}", compression)?;
    let mut parts: Vec<&[u8]> = vec![&head];
    for (at, block) in blocks.iter().enumerate() {
        if at > 0 {
            parts.push(&comma);
        }
        parts.push(&block.payload);
    }
    parts.push(&end);
    frame(&parts)
}
