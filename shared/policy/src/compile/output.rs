//! What the compiler puts out.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::port::Ports;

/// What a policy means for nodes that it does not tell apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The classes whose nodes are peers, by number, ascending.
    pub visible: BTreeMap<u64, Visible>,
    /// The packet filter, in order.
    pub filter: Vec<FilterRule>,
}

/// How a class sees another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// The subnet routes it may use, sorted.
    pub routes: BTreeSet<IpNet>,
    /// Whether it may use exit nodes.
    pub exit_routes: bool,
}

/// One rule of a packet filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// Who, by source list.
    pub source_list: u64,
    /// Where.
    pub destinations: Vec<Destination>,
    /// IP protocols; empty for the default set.
    pub protocols: Vec<u8>,
}

/// A destination of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which addresses.
    pub address: Address,
    /// Which ports there.
    pub ports: Ports,
}

/// Addresses of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The node's own.
    Own,
    /// An element as a filter has it.
    Literal(String),
}

/// Who may send: elements as a filter has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceList(pub BTreeSet<String>);

/// A node and its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The node.
    pub node: u64,
    /// Its class.
    pub class: u64,
}

/// Everything, or what differs from the output before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Classes that are new or differ.
    pub classes: BTreeMap<u64, Class>,
    /// Classes that are gone.
    pub removed_classes: BTreeSet<u64>,
    /// Source lists that are new or differ.
    pub source_lists: BTreeMap<u64, SourceList>,
    /// Source lists that are gone.
    pub removed_source_lists: BTreeSet<u64>,
    /// Nodes that are new or moved.
    pub memberships: Vec<Membership>,
    /// Nodes that are gone.
    pub removed_nodes: BTreeSet<u64>,
}
