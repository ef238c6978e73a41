//! What the compiler puts out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{policy::Capability, port::Ports};

/// What the access rules mean for nodes that they do not tell apart.
///
/// Two classes are peers when one sees a selector that the other belongs to.
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
    /// The ids of the grants with `via` that it may use.
    pub vias: Vec<u64>,
    /// What its nodes lead to as routers of grants with `via`, ascending.
    pub via_targets: Vec<ViaTarget>,
    /// The packet filter besides what is common to all classes, in order.
    pub filter: Vec<ClassFilterRule>,
}

impl Class {
    /// Says whether the nodes of two classes are peers by their classes.
    #[must_use]
    pub fn is_peer_of(&self, other: &Self) -> bool {
        have_common_element(&self.sees, &other.selectors)
            || have_common_element(&other.sees, &self.selectors)
    }
}

/// Says whether two ascending lists have an element in common.
pub(super) fn have_common_element(left: &[u64], right: &[u64]) -> bool {
    let (short, long) = if left.len() < right.len() {
        (left, right)
    } else {
        (right, left)
    };
    short
        .iter()
        .any(|wanted| long.binary_search(wanted).is_ok())
}

/// What a node has from the policy besides access: SSH rules and capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProfile {
    /// Who may log in by SSH; the first that matches decides.
    pub ssh: Vec<CompiledSshRule>,
    /// Capabilities of the node itself, by name.
    pub capabilities: Vec<Capability>,
    /// Capabilities that its peers see on it, by name.
    pub peer_capabilities: Vec<Capability>,
    /// Whether its IPv4 address is kept from others, and theirs from it.
    pub hide_ipv4: bool,
}

/// One SSH rule of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledSshRule {
    /// Who.
    pub principals: SshPrincipals,
    /// SSH user to local user: `=` for the same, empty for none.
    pub users: Arc<[(String, String)]>,
    /// Whether the connection waits for a check.
    pub check: bool,
    /// How long a check holds, in seconds; zero asks at every connection.
    pub check_period: u64,
    /// Environment variables to accept, patterns.
    pub accept_env: Arc<[String]>,
    /// The list of nodes that record the session, when it is recorded.
    pub recorders: Option<ListId>,
    /// Whether a session that can not be recorded is refused.
    pub enforce_recorder: bool,
}

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshPrincipals {
    /// The nodes in some lists; one that is in several of them is named several times.
    Lists(Vec<ListId>),
    /// The node itself, so many times.
    Itself(usize),
}

/// One rule of a packet filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFilterRule {
    /// Who, by source list.
    pub sources: u64,
    /// Whether the list is that of the node's own user.
    pub per_user: bool,
    /// Where.
    pub destinations: Vec<FilterDestination>,
    /// IP protocol; `None` for the default set.
    pub protocol: Option<u8>,
    /// Application grants; exclusive with destinations.
    pub grants: Vec<CapabilityGrant>,
}

/// A destination of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterDestination {
    /// Which addresses.
    pub address: DestinationAddress,
    /// Which ports there.
    pub ports: Ports,
}

/// Addresses of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationAddress {
    /// The node's own.
    Own,
    /// An element as a filter has it.
    Literal(String),
}

/// An application grant on some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityGrant {
    /// Whether it is granted on the node's own IPv4 address.
    pub own_ipv4: bool,
    /// Whether it is granted on the node's own IPv6 address.
    pub own_ipv6: bool,
    /// Routed prefixes and ranges it is granted on, as a filter has them.
    pub routed: Vec<String>,
    /// What is granted.
    pub capabilities: Vec<Capability>,
}

/// A list of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId {
    /// A hash of the selectors that feed it: the same on every replica, and while its elements change.
    pub id: u64,
    /// The user whose devices it is reduced to; zero for none.
    pub user: u64,
}

/// Elements that were added to a list and removed from it. A list without elements is the same as none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListChange {
    /// Elements that were added, as a filter writes them.
    pub added: BTreeSet<Arc<str>>,
    /// Elements that were removed.
    pub removed: BTreeSet<Arc<str>>,
}

/// Whose netmap a subnet route is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteUsers {
    /// The selectors whose classes may reach it: they have it through its primary router, whatever routers `via` chooses.
    /// Ascending.
    pub reach: Vec<u64>,
    /// The selectors whose classes are reached from it: they have it through its primary router, unless `via` chooses
    /// another for them. Ids of vias are among them: see [`ViaTarget`]. Ascending.
    pub reached: Vec<u64>,
}

/// What a router of a grant with `via` leads to.
///
/// The classes that belong to the selector have, through this router, those of its subnet routes that list the via in
/// [`RouteUsers::reached`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViaTarget {
    /// The id of the via.
    pub via: u64,
    /// The id of the selector it leads to.
    pub to: u64,
}

/// The routers that a grant with `via` chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via {
    /// The routers of each route, first choice first.
    pub routes: BTreeMap<IpNet, Vec<u64>>,
    /// The exit nodes among them.
    pub exits: Vec<u64>,
}

/// Where a node belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Its class.
    pub class: u64,
    /// Its profile.
    pub profile: u64,
}

/// Everything, or what differs from the output before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The rules every node has, when they differ.
    pub common_filter: Option<Arc<Vec<ClassFilterRule>>>,
    /// Relays besides or instead of the server's own, as JSON text in the clients' spelling, when they differ; empty
    /// for none.
    pub derp_map: Option<Arc<str>>,
    /// Classes that are new or differ; `None` for one that is gone.
    pub classes: BTreeMap<u64, Option<Arc<Class>>>,
    /// Profiles that are new or differ; `None` for those that are gone.
    pub profiles: BTreeMap<u64, Option<Arc<NodeProfile>>>,
    /// What changed in lists.
    pub lists: BTreeMap<ListId, ListChange>,
    /// The users of each subnet route that is new or differs; `None` for a route that is gone.
    pub routes: BTreeMap<IpNet, Option<Arc<RouteUsers>>>,
    /// Vias that are new or differ; `None` for one that is gone.
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

    /// Notes that an element was added to a list.
    pub(super) fn add_element(&mut self, list: ListId, element: &Arc<str>) {
        let change = self.lists.entry(list).or_default();
        if !change.removed.remove(element) {
            change.added.insert(Arc::clone(element));
        } else if change.added.is_empty() && change.removed.is_empty() {
            self.lists.remove(&list);
        }
    }

    /// Notes that an element was removed from a list.
    pub(super) fn remove_element(&mut self, list: ListId, element: &Arc<str>) {
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
        add_map_difference(&mut self.classes, &before.classes, &after.classes);
        add_map_difference(&mut self.profiles, &before.profiles, &after.profiles);
        add_map_difference(&mut self.routes, &before.routes, &after.routes);
        add_map_difference(&mut self.vias, &before.vias, &after.vias);
        add_map_difference(&mut self.nodes, &before.nodes, &after.nodes);
        let none = ListChange::default();
        let lists = before.lists.keys().chain(after.lists.keys());
        for list in lists.collect::<BTreeSet<_>>() {
            let old = &before.lists.get(list).unwrap_or(&none).added;
            let new = &after.lists.get(list).unwrap_or(&none).added;
            for removed in old.difference(new) {
                self.remove_element(*list, removed);
            }
            for added in new.difference(old) {
                self.add_element(*list, added);
            }
        }
    }
}

fn add_map_difference<K: Ord + Clone, V: PartialEq + Clone>(
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
