//! Who is connected: node key to outbox. The newest connection of a key is the only one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bowline_ids::TailnetId;
use bowline_keys::NodePublic;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::frame::{self, PeerGoneReason};
use crate::outbox::Outbox;

/// Nodes a connection remembers having reached, to tell them when it ends.
const MAX_REACHED: usize = 4096;
/// A connection that is replaced before this age is taken for one that two machines with one key fight over.
const YOUNG: Duration = Duration::from_secs(15);
/// How often that happens without a wait: a client whose network changes replaces its own connection once or twice.
const FREE_TAKEOVERS: u32 = 2;
/// How long the newcomer waits at first; each time it is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest it waits.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The connected clients.
#[derive(Debug, Default)]
pub(crate) struct PeerTable(RwLock<HashMap<NodePublic, Arc<ConnectedPeer>>>);

/// One connected client, as others see it.
#[derive(Debug)]
pub(crate) struct ConnectedPeer {
    pub(crate) key: NodePublic,
    pub(crate) tailnet: TailnetId,
    pub(crate) outbox: Outbox,
    /// Cancelled when a newer connection of the same key took over.
    pub(crate) replaced: CancellationToken,
    since: Instant,
    /// How many young connections of the key were replaced, one after the other, before this one.
    takeovers: u32,
    /// Cancelled when it is gone.
    left: CancellationToken,
}

/// A connection whose key another machine uses as well.
#[derive(Debug)]
pub(crate) struct Contest {
    older: Arc<ConnectedPeer>,
    wait: Duration,
}

impl Contest {
    /// Waits until the other connection has gone, or for so long that both together cost little.
    pub(crate) async fn wait_out(&self) {
        tokio::select! {
            () = self.older.left.cancelled() => {}
            () = tokio::time::sleep(self.wait) => {}
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketDelivery {
    /// It waits for its destination; so many packets, older than it or itself, were dropped.
    Queued { dropped: u64 },
    /// Its destination is not connected, or is of another tailnet: a sender can not tell which.
    NotHere,
}

/// A client's place among the connected ones; it leaves, and is missed, when dropped.
#[derive(Debug)]
pub(crate) struct PeerEntry {
    peers: Arc<PeerTable>,
    peer: Arc<ConnectedPeer>,
    reached: HashSet<NodePublic>,
}

impl PeerTable {
    /// Returns the contest that a newcomer with this key would prolong.
    pub(crate) fn find_contest(&self, key: &NodePublic) -> Option<Contest> {
        let all = self.0.read();
        let older = all.get(key).filter(|peer| peer.since.elapsed() < YOUNG)?;
        let round = older.takeovers.checked_sub(FREE_TAKEOVERS)?;
        let wait = FIRST_WAIT.saturating_mul(1 << round.min(8));
        Some(Contest {
            older: older.clone(),
            wait: wait.min(LONGEST_WAIT),
        })
    }

    /// Enters a client, in place of an older connection of the same key.
    pub(crate) fn enter_peer(
        self: &Arc<Self>,
        key: NodePublic,
        tailnet: TailnetId,
        outbox_bytes: usize,
    ) -> PeerEntry {
        let mut all = self.0.write();
        let young = all.get(&key).filter(|peer| peer.since.elapsed() < YOUNG);
        let peer = Arc::new(ConnectedPeer {
            key,
            tailnet,
            outbox: Outbox::new(outbox_bytes),
            replaced: CancellationToken::new(),
            since: Instant::now(),
            takeovers: young.map_or(0, |older| older.takeovers.saturating_add(1)),
            left: CancellationToken::new(),
        });
        let older = all.insert(key, peer.clone());
        drop(all);
        if let Some(older) = older {
            older.replaced.cancel();
        }
        PeerEntry {
            peers: self.clone(),
            peer,
            reached: HashSet::new(),
        }
    }

    /// Returns a client that nodes of `tailnet` may reach.
    fn get(&self, key: &NodePublic, tailnet: TailnetId) -> Option<Arc<ConnectedPeer>> {
        self.0
            .read()
            .get(key)
            .filter(|peer| peer.tailnet == tailnet)
            .cloned()
    }

    /// Removes a client unless a newer connection has its place; answers whether it was there.
    fn remove_peer(&self, peer: &Arc<ConnectedPeer>) -> bool {
        let mut all = self.0.write();
        let current = all
            .get(&peer.key)
            .is_some_and(|held| Arc::ptr_eq(held, peer));
        current && all.remove(&peer.key).is_some()
    }
}

impl PeerEntry {
    pub(crate) fn peer(&self) -> Arc<ConnectedPeer> {
        self.peer.clone()
    }

    /// Hands a RecvPacket frame to its destination in the same tailnet, without waiting.
    pub(crate) fn deliver_frame(&mut self, to: NodePublic, frame: Bytes) -> PacketDelivery {
        let Some(peer) = self.peers.get(&to, self.peer.tailnet) else {
            return PacketDelivery::NotHere;
        };
        if self.reached.len() < MAX_REACHED {
            self.reached.insert(to);
        }
        PacketDelivery::Queued {
            dropped: peer.outbox.push(frame),
        }
    }
}

impl Drop for PeerEntry {
    fn drop(&mut self) {
        self.peer.left.cancel();
        if !self.peers.remove_peer(&self.peer) {
            return;
        }
        let gone = frame::peer_gone_frame(self.peer.key.as_bytes(), PeerGoneReason::Disconnected);
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

#[cfg(test)]
mod tests;
