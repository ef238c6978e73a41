//! What is true of one tailnet, at one moment: an immutable snapshot, cheap to clone.

mod compiled;

use std::{collections::BTreeSet, sync::Arc};

use bowline_control_wire::{CapabilityVersion, dialect};
use bowline_proto::{
    identity::v1::{Tailnet, User},
    key_registry::v1::{Node, SoftState},
    policy::v1::Class,
};
use imbl::{OrdMap, OrdSet};
use serde::Deserialize;

pub use compiled::{
    CompiledPolicy, SourceListKey, have_common_element, see_each_other, ssh_source_lists,
};

/// A node as it may be shown: its facts and its class belong together (design: one output, one step).
#[derive(Clone, Debug, PartialEq)]
pub struct ShownNode {
    /// Hard state.
    pub node: Arc<Node>,
    /// Soft state; default values for a node that never reported.
    pub soft: Arc<SoftState>,
    /// The visibility class the policy puts it in.
    pub class: u64,
    /// The settings the policy gives it.
    pub settings: u64,
    /// Whether peers may be offered its key: approved, not expired, its user not suspended.
    pub offered: bool,
}

impl ShownNode {
    /// Returns the user it belongs to; `None` with tags.
    #[must_use]
    pub fn user(&self) -> Option<u64> {
        self.node.owning_user()
    }

    /// Returns its addresses, IPv4 then IPv6.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let both = [self.node.ipv4.as_str(), self.node.ipv6.as_str()];
        both.into_iter().filter(|address| !address.is_empty())
    }

    /// Returns the routes that are both advertised and approved.
    pub fn usable_routes(&self) -> impl Iterator<Item = &String> {
        self.node.usable_routes()
    }
}

/// How packet filters name the nodes that may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterSources {
    /// By their addresses.
    #[default]
    Addresses,
    /// By a capability that they have: a node that comes or goes changes itself only, not the filters of those it
    /// may reach. For clients from capability version 109 on; older ones are told addresses.
    Capabilities,
}

/// One tailnet at one generation.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How packet filters name sources.
    pub sources: FilterSources,
    /// Counts the published views of this process; means nothing to another.
    pub generation: u64,
    /// The tailnet and its settings.
    pub tailnet: Arc<Tailnet>,
    /// Users by number.
    pub users: OrdMap<u64, Arc<User>>,
    /// Nodes by number; one the policy has not judged yet is not here.
    pub nodes: OrdMap<u64, ShownNode>,
    /// The node of each node key.
    pub node_by_key: OrdMap<Vec<u8>, u64>,
    /// The node of each address.
    pub node_by_address: OrdMap<Arc<str>, u64>,
    /// What the policy means.
    pub compiled: CompiledPolicy,
    /// The nodes of each class.
    pub class_nodes: OrdMap<u64, OrdSet<u64>>,
    /// The nodes of each settings.
    pub settings_nodes: OrdMap<u64, OrdSet<u64>>,
    /// The devices of each user, tagged nodes not among them.
    pub user_devices: OrdMap<u64, OrdSet<u64>>,
    /// The nodes that offer each usable route.
    pub route_nodes: OrdMap<String, OrdSet<u64>>,
}

impl View {
    /// Returns the view as a client of a capability version can be told it.
    #[must_use]
    pub fn for_client_version(self: Arc<Self>, version: CapabilityVersion) -> Arc<Self> {
        if self.sources == FilterSources::Addresses || dialect::takes_capability_sources(version) {
            return self;
        }
        Arc::new(Self {
            sources: FilterSources::Addresses,
            ..Self::clone(&self)
        })
    }

    /// Puts a node in, or takes it out; returns how it was.
    pub(super) fn put_node(&mut self, id: u64, now: Option<ShownNode>) -> Option<ShownNode> {
        let before = self.nodes.get(&id).cloned();
        if let Some(before) = &before {
            self.node_by_key.remove(&before.node.node_key);
            for address in before.addresses() {
                self.node_by_address.remove(address);
            }
            remove_from_index(&mut self.class_nodes, &before.class, id);
            remove_from_index(&mut self.settings_nodes, &before.settings, id);
            if let Some(user) = before.user() {
                remove_from_index(&mut self.user_devices, &user, id);
            }
            for route in before.usable_routes() {
                remove_from_index(&mut self.route_nodes, route, id);
            }
        }
        if let Some(now) = &now {
            self.node_by_key.insert(now.node.node_key.clone(), id);
            for address in now.addresses() {
                self.node_by_address.insert(Arc::from(address), id);
            }
            self.class_nodes.entry(now.class).or_default().insert(id);
            self.settings_nodes
                .entry(now.settings)
                .or_default()
                .insert(id);
            if let Some(user) = now.user() {
                self.user_devices.entry(user).or_default().insert(id);
            }
            for route in now.usable_routes() {
                self.route_nodes
                    .entry(route.clone())
                    .or_default()
                    .insert(id);
            }
        }
        match now {
            Some(now) => self.nodes.insert(id, now),
            None => self.nodes.remove(&id),
        };
        before
    }

    /// Says whether clients may be told an address: it is not that of a node that may not take part.
    #[must_use]
    pub fn may_name(&self, address: &str) -> bool {
        let node = self
            .node_by_address
            .get(address)
            .and_then(|id| self.nodes.get(id));
        node.is_none_or(|shown| shown.offered)
    }

    /// Returns the nodes of a class, ascending.
    pub fn nodes_in_class(&self, class: u64) -> impl Iterator<Item = u64> {
        self.class_nodes.get(&class).into_iter().flatten().copied()
    }

    /// Returns the nodes with some settings, ascending.
    pub fn nodes_with_settings(&self, settings: u64) -> impl Iterator<Item = u64> {
        self.settings_nodes
            .get(&settings)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Returns the devices of a user, ascending.
    pub fn devices_of_user(&self, user: Option<u64>) -> impl Iterator<Item = u64> {
        user.and_then(|user| self.user_devices.get(&user))
            .into_iter()
            .flatten()
            .copied()
    }

    /// Returns the nodes that may be peers of a node, ascending.
    #[must_use]
    pub fn possible_peers(&self, own: &ShownNode) -> BTreeSet<u64> {
        let class = self.compiled.classes.get(&own.class);
        let mut found =
            class.map_or_else(BTreeSet::new, |class| self.nodes_seen_by(class, own.user()));
        found.remove(&own.node.id);
        found
    }

    /// Returns the nodes of the classes that a class sees, and the devices of a user, ascending.
    #[must_use]
    pub fn nodes_seen_by(&self, class: &Class, user: Option<u64>) -> BTreeSet<u64> {
        let classes = self.compiled.peer_classes(class);
        let members = classes
            .into_iter()
            .flat_map(|class| self.nodes_in_class(class));
        members.chain(self.devices_of_user(user)).collect()
    }
}

fn remove_from_index<K: Ord + Clone>(table: &mut OrdMap<K, OrdSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = table.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            table.remove(key);
        }
    }
}
