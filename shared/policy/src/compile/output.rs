//! What the compiler puts out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{policy::Capability, port::Ports};

/// What a policy means for nodes that it does not tell apart.
///
/// A class sees another when one of the selectors that either sees is a selector of the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The selectors its nodes belong to, ascending.
    pub selectors: Vec<u64>,
    /// The selectors it sees, ascending.
    pub sees: Vec<u64>,
    /// Whether its nodes and all other devices of the same user are peers.
    pub sees_own: bool,
    /// Whether it may use exit nodes that it sees.
    pub exit_routes: bool,
    /// Ways through chosen routers that it may use.
    pub vias: Vec<u64>,
    /// Where its nodes lead as routers that a rule goes through, ascending.
    pub passes: Vec<Pass>,
    /// The packet filter besides what is common to all classes, in order.
    pub filter: Vec<FilterRule>,
}

impl Class {
    /// Says whether the nodes of two classes are peers by their classes.
    #[must_use]
    pub fn sees(&self, other: &Self) -> bool {
        intersect(&self.sees, &other.selectors) || intersect(&other.sees, &self.selectors)
    }
}

/// Says whether two ascending lists have an element in common.
pub(super) fn intersect(left: &[u64], right: &[u64]) -> bool {
    let (short, long) = if left.len() < right.len() {
        (left, right)
    } else {
        (right, left)
    };
    short
        .iter()
        .any(|wanted| long.binary_search(wanted).is_ok())
}

/// What the policy sets on nodes besides who reaches them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who may log in by SSH; the first that matches decides.
    pub ssh: Vec<SshLogin>,
    /// Capabilities of the node itself, by name.
    pub capabilities: Vec<Capability>,
    /// Capabilities that its peers see on it, by name.
    pub peer_capabilities: Vec<Capability>,
    /// Whether its IPv4 address is not shown and it is shown none.
    pub hide_ipv4: bool,
}

/// One rule of an SSH policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshLogin {
    /// Who.
    pub principals: Principals,
    /// SSH user to local user: `=` for the same, empty for none.
    pub users: Arc<[(String, String)]>,
    /// Whether the connection waits for a check.
    pub check: bool,
    /// Environment variables to accept, patterns.
    pub accept_env: Arc<[String]>,
    /// The list of nodes that record the session, when it is recorded.
    pub recorders: Option<ListId>,
    /// Whether a session that can not be recorded is refused.
    pub enforce_recorder: bool,
}

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principals {
    /// The nodes with the addresses of some lists, repeated where several have them.
    Lists(Vec<ListId>),
    /// The node itself, so many times.
    Itself(usize),
}

/// One rule of a packet filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// Who, by source list.
    pub sources: u64,
    /// Whether the list is that of the node's own user.
    pub per_user: bool,
    /// Where.
    pub destinations: Vec<Destination>,
    /// IP protocol; `None` for the default set.
    pub protocol: Option<u8>,
    /// Application grants; exclusive with destinations.
    pub grants: Vec<CapGrant>,
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

/// An application grant on some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapGrant {
    /// Whether it is granted on the node's own IPv4 address, and on its IPv6 address.
    pub own: (bool, bool),
    /// Routed prefixes and ranges it is granted on, as a filter has them.
    pub routed: Vec<String>,
    /// What is granted.
    pub capabilities: Vec<Capability>,
}

/// A list of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId {
    /// What feeds it: equal on every replica, the same while its elements change.
    pub id: u64,
    /// The user whose devices it is reduced to; zero for none.
    pub user: u64,
}

/// What came into a list and what went; a list without elements is the same as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListChange {
    /// Elements that came, as a filter has them.
    pub added: BTreeSet<Arc<str>>,
    /// Elements that went.
    pub removed: BTreeSet<Arc<str>>,
}

/// Who has to do with a subnet route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteUsers {
    /// The selectors whose classes reach it through its common router, whatever routers are chosen; ascending.
    pub reach: Vec<u64>,
    /// The selectors whose classes it reaches, and so have it through its common router unless another is chosen for
    /// them; ascending. Ways are among them: see [`Pass`].
    pub reached: Vec<u64>,
}

/// Where a router that a rule goes through leads.
///
/// What lies behind the router's own routes has those of them that the way is a user of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pass {
    /// The way.
    pub way: u64,
    /// The selector of what it leads to.
    pub to: u64,
}

/// A way through chosen routers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// The routers of each route, first choice first.
    pub routes: BTreeMap<IpNet, Vec<u64>>,
    /// The exit nodes.
    pub exits: Vec<u64>,
}

/// Where a node belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Its class.
    pub class: u64,
    /// Its settings.
    pub settings: u64,
}

/// Everything, or what differs from the output before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The rules every node has, when they differ.
    pub common_filter: Option<Arc<Vec<FilterRule>>>,
    /// Relays besides or instead of the server's own, as JSON text in the clients' spelling, when they differ; empty
    /// for none.
    pub derp_map: Option<Arc<str>>,
    /// Classes that are new or differ; `None` for one that is gone.
    pub classes: BTreeMap<u64, Option<Arc<Class>>>,
    /// Settings that are new or differ; `None` for those that are gone.
    pub settings: BTreeMap<u64, Option<Arc<Settings>>>,
    /// What changed in lists.
    pub lists: BTreeMap<ListId, ListChange>,
    /// Who has to do with each subnet route; `None` for a route that is gone.
    pub routes: BTreeMap<IpNet, Option<Arc<RouteUsers>>>,
    /// Ways through chosen routers that are new or differ; `None` for one that is gone.
    pub vias: BTreeMap<u64, Option<Arc<Via>>>,
    /// Nodes that are new or moved; `None` for one that is gone.
    pub nodes: BTreeMap<u64, Option<Membership>>,
}

impl Output {
    /// Says whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes an element that came into a list.
    pub(super) fn add(&mut self, list: ListId, element: &Arc<str>) {
        let change = self.lists.entry(list).or_default();
        if !change.removed.remove(element) {
            change.added.insert(Arc::clone(element));
        } else if change.added.is_empty() && change.removed.is_empty() {
            self.lists.remove(&list);
        }
    }

    /// Notes an element that went from a list.
    pub(super) fn remove(&mut self, list: ListId, element: &Arc<str>) {
        let change = self.lists.entry(list).or_default();
        if !change.added.remove(element) {
            change.removed.insert(Arc::clone(element));
        } else if change.added.is_empty() && change.removed.is_empty() {
            self.lists.remove(&list);
        }
    }

    /// Notes what it takes to come from one full output to another.
    pub(super) fn add_difference(&mut self, before: &Self, after: &Self) {
        if before.common_filter != after.common_filter {
            self.common_filter.clone_from(&after.common_filter);
        }
        if before.derp_map != after.derp_map {
            self.derp_map.clone_from(&after.derp_map);
        }
        difference(&mut self.classes, &before.classes, &after.classes);
        difference(&mut self.settings, &before.settings, &after.settings);
        difference(&mut self.routes, &before.routes, &after.routes);
        difference(&mut self.vias, &before.vias, &after.vias);
        difference(&mut self.nodes, &before.nodes, &after.nodes);
        let none = ListChange::default();
        for list in before
            .lists
            .keys()
            .chain(after.lists.keys())
            .collect::<BTreeSet<_>>()
        {
            let old = &before.lists.get(list).unwrap_or(&none).added;
            let new = &after.lists.get(list).unwrap_or(&none).added;
            old.difference(new)
                .for_each(|gone| self.remove(*list, gone));
            new.difference(old).for_each(|came| self.add(*list, came));
        }
    }
}

fn difference<K: Ord + Clone, V: PartialEq + Clone>(
    changes: &mut BTreeMap<K, Option<V>>,
    before: &BTreeMap<K, Option<V>>,
    after: &BTreeMap<K, Option<V>>,
) {
    for gone in before.keys().filter(|key| !after.contains_key(key)) {
        changes.insert(gone.clone(), None);
    }
    for (key, value) in after
        .iter()
        .filter(|(key, value)| before.get(key) != Some(value))
    {
        changes.insert(key.clone(), value.clone());
    }
}
