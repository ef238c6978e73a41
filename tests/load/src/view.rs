//! What a node has been told: the sum of its messages.

use std::{collections::BTreeMap, net::SocketAddr};

use bowline_clock::{Clock as _, SystemClock};
use bowline_control_wire::{FilterRule, MapResponse, Node, PeerChange};
use bowline_keys::{DiscoPublic, NodePublic};
use ipnet::IpNet;

/// What is known of a node, one's own or a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// Its key.
    pub key: NodePublic,
    /// Its path-discovery key.
    pub disco: Option<DiscoPublic>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Whether more than its addresses may be sent to it.
    pub has_routes: bool,
    /// Where it can be reached.
    pub endpoints: Vec<SocketAddr>,
    /// Whether it is online.
    pub online: Option<bool>,
    /// Whether its key has ended.
    pub expired: bool,
}

/// What a message said of a peer that the node knew already, or that came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The peer.
    pub node: u64,
    /// The endpoint that it named, where the peer was known already.
    pub endpoint: Option<SocketAddr>,
    /// Whether it named the peer as gone or ended.
    pub is_end: bool,
}

/// A node's view.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Itself.
    pub own: Option<(u64, KnownNode)>,
    /// Its peers, by number.
    pub peers: BTreeMap<u64, KnownNode>,
    /// Its packet filter, by the name of the part.
    filters: BTreeMap<String, Vec<FilterRule>>,
    /// Messages that the protocol does not allow.
    pub faults: Vec<String>,
}

impl NodeView {
    /// Returns the rules of all parts of the filter.
    pub fn rules(&self) -> impl Iterator<Item = &FilterRule> {
        self.filters.values().flatten()
    }

    /// Applies a message, and returns whom it spoke of beside a list of all peers.
    pub fn apply(&mut self, message: MapResponse) -> Vec<Heard> {
        if message.keep_alive {
            return Vec::new();
        }
        if let Some(node) = message.node {
            self.own = Some((node.id, known(&node)));
        } else if self.own.is_none() {
            self.faults.push("a first message without Node".to_owned());
        }
        // A list of peers replaces all; one without any is none.
        if !message.peers.is_empty() {
            let peers = message.peers.iter();
            self.peers = peers.map(|peer| (peer.id, known(peer))).collect();
        }
        let mut heard = Vec::new();
        for peer in &message.peers_changed {
            let (node, peer) = (peer.id, known(peer));
            let is_known = self.peers.contains_key(&node);
            let endpoint = peer.endpoints.first().copied();
            heard.push(Heard {
                node,
                endpoint: endpoint.filter(|_| is_known),
                is_end: peer.expired,
            });
            self.peers.insert(node, peer);
        }
        for node in message.peers_removed {
            self.peers.remove(&node);
            heard.push(Heard {
                node,
                endpoint: None,
                is_end: true,
            });
        }
        for change in message.peers_changed_patch {
            heard.push(Heard {
                node: change.node_id,
                endpoint: endpoints(&change.endpoints).first().copied(),
                is_end: has_ended(&change),
            });
            self.patch(&change);
        }
        for (node, online) in message.online_change {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.online = Some(online);
            }
        }
        self.replace_filters(message.packet_filters);
        heard
    }

    fn patch(&mut self, change: &PeerChange) {
        let has_ended = has_ended(change);
        let Some(peer) = self.peers.get_mut(&change.node_id) else {
            let text = format!("a change of the unknown peer {}", change.node_id);
            return self.faults.push(text);
        };
        if let Some(key) = change.key {
            peer.key = key;
        }
        peer.disco = change.disco_key.or(peer.disco);
        peer.online = change.online.or(peer.online);
        peer.expired |= has_ended;
        if !change.endpoints.is_empty() {
            peer.endpoints = endpoints(&change.endpoints);
        }
    }

    fn replace_filters(&mut self, mut parts: BTreeMap<String, Option<Vec<FilterRule>>>) {
        if parts.remove("*").is_some() {
            self.filters.clear();
        }
        for (name, rules) in parts {
            match rules {
                Some(rules) => self.filters.insert(name, rules),
                None => self.filters.remove(&name),
            };
        }
    }
}

/// Says whether a change ends the peer's key.
fn has_ended(change: &PeerChange) -> bool {
    change
        .key_expiry
        .is_some_and(|end| end <= SystemClock.now())
}

fn known(node: &Node) -> KnownNode {
    let networks = |texts: &[String]| -> Vec<IpNet> {
        // One that can not be read is missed by whoever compares.
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    };
    let addresses = networks(&node.addresses);
    KnownNode {
        key: node.key,
        disco: node.disco_key,
        has_routes: !node.allowed_ips.is_empty() && networks(&node.allowed_ips) != addresses,
        addresses,
        endpoints: endpoints(&node.endpoints),
        online: node.online,
        expired: node.expired || !node.machine_authorized,
    }
}

fn endpoints(texts: &[String]) -> Vec<SocketAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
