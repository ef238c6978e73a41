//! The list of nodes as it has to be: what the registry gave each, and what each did since.

use std::net::{IpAddr, SocketAddr};

use bowline_keys::{DiscoPublic, NodePublic};

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes part.
    Present,
    /// Its key has ended or it was deleted: nobody may know it.
    Revoked,
    /// Its key has ended: peers may know it as such.
    Ended,
}

/// Whether peers have to be told that a node is online.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It holds a stream.
    Online,
    /// It has never held one.
    Offline,
    /// It does not answer, so the server may think either.
    Unsure,
}

/// One node.
#[derive(Clone, Debug)]
pub struct RosterNode {
    /// The number that the registry gave it.
    pub id: u64,
    /// Whose it is.
    pub person: usize,
    /// Its key.
    pub key: NodePublic,
    /// Its path-discovery key, once it has reported it.
    pub disco: Option<DiscoPublic>,
    /// Its IPv4 and its IPv6 address.
    pub addresses: [IpAddr; 2],
    /// The endpoint that it reported last.
    pub endpoint: Option<SocketAddr>,
    /// Where it stands.
    pub standing: Standing,
    /// Whether it is online.
    pub presence: Presence,
}

/// All nodes; those of a fleet stand at their place.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    nodes: Vec<RosterNode>,
    /// Addresses of all nodes, sorted, with their places.
    by_address: Vec<(IpAddr, usize)>,
}

impl Roster {
    /// Adds nodes, and returns what two of them have in common.
    pub fn extend(&mut self, nodes: Vec<RosterNode>) -> Vec<String> {
        self.nodes.extend(nodes);
        let places = self.nodes.iter().enumerate();
        let addresses = places.flat_map(|(place, node)| node.addresses.map(|one| (one, place)));
        self.by_address = addresses.collect();
        self.by_address.sort_unstable();
        let mut numbers: Vec<_> = self.nodes.iter().map(|node| node.id).collect();
        numbers.sort_unstable();
        let addresses = self.by_address.windows(2);
        let twice = addresses.filter(|two| two[0].0 == two[1].0);
        let mut faults: Vec<_> = twice
            .map(|two| format!("two nodes have the address {}", two[0].0))
            .collect();
        let twice = numbers.windows(2).filter(|two| two[0] == two[1]);
        faults.extend(twice.map(|two| format!("two nodes have the number {}", two[0])));
        faults
    }

    /// Returns the nodes in order.
    pub fn nodes(&self) -> &[RosterNode] {
        &self.nodes
    }

    /// Returns one to be changed.
    pub fn node_mut(&mut self, place: usize) -> &mut RosterNode {
        &mut self.nodes[place]
    }

    /// Returns the places of the nodes with an address from `first` to `last`.
    pub fn within(&self, first: IpAddr, last: IpAddr) -> impl Iterator<Item = usize> {
        let from = self.by_address.partition_point(|(one, _)| *one < first);
        let to = self.by_address.partition_point(|(one, _)| *one <= last);
        let found = self.by_address.get(from..to).unwrap_or_default();
        found.iter().map(|(_, place)| *place)
    }
}
