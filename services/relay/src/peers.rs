//! Who is connected: node key to outbox. The newest connection of a key is the only one.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use bowline_ids::TailnetId;
use bowline_keys::NodePublic;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::frame::{self, Gone};
use crate::outbox::Outbox;

/// Nodes a connection remembers having reached, to tell them when it ends.
const MAX_REACHED: usize = 4096;

/// The connected clients.
#[derive(Debug, Default)]
pub(crate) struct Peers(RwLock<HashMap<NodePublic, Arc<Peer>>>);

/// One connected client, as others see it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: NodePublic,
    pub(crate) tailnet: TailnetId,
    pub(crate) outbox: Outbox,
    /// Cancelled when a newer connection of the same key took over.
    pub(crate) replaced: CancellationToken,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It waits for its destination; so many packets, older than it or itself, were dropped.
    Queued { dropped: u64 },
    /// Its destination is not connected, or is of another tailnet: a sender can not tell which.
    NotHere,
}

/// A client's place among the connected ones; it leaves, and is missed, when dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    peers: Arc<Peers>,
    peer: Arc<Peer>,
    reached: HashSet<NodePublic>,
}

impl Peers {
    /// Enters a client, in place of an older connection of the same key.
    pub(crate) fn enter(
        self: &Arc<Self>,
        key: NodePublic,
        tailnet: TailnetId,
        outbox_bytes: usize,
    ) -> Connected {
        let peer = Arc::new(Peer {
            key,
            tailnet,
            outbox: Outbox::new(outbox_bytes),
            replaced: CancellationToken::new(),
        });
        let older = self
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, peer.clone());
        if let Some(older) = older {
            older.replaced.cancel();
        }
        Connected {
            peers: self.clone(),
            peer,
            reached: HashSet::new(),
        }
    }

    /// Returns a client that nodes of `tailnet` may reach.
    fn get(&self, key: &NodePublic, tailnet: TailnetId) -> Option<Arc<Peer>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .filter(|peer| peer.tailnet == tailnet)
            .cloned()
    }

    /// Removes a client unless a newer connection has its place; answers whether it was there.
    fn leave(&self, peer: &Arc<Peer>) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let current = all
            .get(&peer.key)
            .is_some_and(|held| Arc::ptr_eq(held, peer));
        current && all.remove(&peer.key).is_some()
    }
}

impl Connected {
    pub(crate) fn peer(&self) -> Arc<Peer> {
        self.peer.clone()
    }

    /// Hands a RecvPacket frame to its destination in the same tailnet, without waiting.
    pub(crate) fn deliver(&mut self, to: NodePublic, frame: Bytes) -> Delivery {
        let Some(peer) = self.peers.get(&to, self.peer.tailnet) else {
            return Delivery::NotHere;
        };
        if self.reached.len() < MAX_REACHED {
            self.reached.insert(to);
        }
        Delivery::Queued {
            dropped: peer.outbox.push(frame),
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if !self.peers.leave(&self.peer) {
            return;
        }
        let gone = frame::peer_gone(self.peer.key.as_bytes(), Gone::Disconnected);
        let tailnet = self.peer.tailnet;
        for peer in self
            .reached
            .iter()
            .filter_map(|key| self.peers.get(key, tailnet))
        {
            peer.outbox.push(gone.clone());
        }
    }
}
