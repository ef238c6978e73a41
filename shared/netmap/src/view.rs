//! What is true of one tailnet, at one moment: an immutable snapshot, cheap to clone.

mod compiled;
mod encoded_peer;
mod inverted_index;
mod numbers;
mod relays;

use std::{collections::BTreeSet, sync::Arc};

use bowline_control_wire::{CapabilityVersion, dialect};
use bowline_ids::{NodeId, UserId};
use bowline_proto::{
    identity::v1::{Tailnet, User},
    key_registry::v1::{Node, SoftState, TailnetLock},
    policy::v1::Class,
};
use imbl::{OrdMap, OrdSet};
use serde::Deserialize;

pub use compiled::{
    CompiledPolicy, SourceListKey, have_common_element, see_each_other, ssh_source_lists,
};
pub use encoded_peer::EncodedPeer;
pub(crate) use encoded_peer::PeerContext;
pub use inverted_index::InvertedIndex;
pub use numbers::{ClassId, Generation, SettingsId};
pub use relays::PolicyRelays;

/// A node as it may be shown: its facts and its class belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownNode {
    /// Its number.
    pub id: NodeId,
    /// Hard state.
    pub node: Arc<Node>,
    /// Soft state; default values for a node that never reported.
    pub soft: Arc<SoftState>,
    /// The visibility class the policy puts it in.
    pub class: ClassId,
    /// The settings the policy gives it.
    pub settings: SettingsId,
    /// Whether peers may be offered its key: approved, not disabled, not expired, not waiting for a signature, its user not
    /// suspended.
    pub offered: bool,
    /// How it looks in a message to most who see it.
    pub encoded: EncodedPeer,
}

impl ShownNode {
    /// Returns the user it belongs to; `None` with tags.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        let user = self.node.owning_user()?;
        UserId::try_from(user).ok()
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
    /// Which of the published views of this process it is.
    pub generation: Generation,
    /// The tailnet and its settings.
    pub tailnet: Arc<Tailnet>,
    /// Tailnet lock.
    pub lock: TailnetLock,
    /// Users by number.
    pub users: OrdMap<UserId, Arc<User>>,
    /// Nodes by number; one the policy has not judged yet is not here.
    pub nodes: OrdMap<NodeId, ShownNode>,
    /// The node of each node key.
    pub node_by_key: OrdMap<Vec<u8>, NodeId>,
    /// The node of each address.
    pub node_by_address: OrdMap<Arc<str>, NodeId>,
    /// The addresses of nodes that may not take part: clients are not told them.
    pub hidden_addresses: OrdSet<Arc<str>>,
    /// What the policy means.
    pub compiled: CompiledPolicy,
    /// The nodes of each class.
    pub nodes_by_class: InvertedIndex<ClassId, NodeId>,
    /// The nodes of each settings.
    pub nodes_by_settings: InvertedIndex<SettingsId, NodeId>,
    /// The devices of each user, tagged nodes not among them.
    pub devices_by_user: InvertedIndex<UserId, NodeId>,
    /// The nodes that offer each usable route.
    pub nodes_by_route: InvertedIndex<String, NodeId>,
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

    /// Puts a node in, or takes it out; returns how it was. Only the tables that differ are written.
    pub(super) fn put_node(&mut self, id: NodeId, now: Option<&ShownNode>) -> Option<ShownNode> {
        let before = match now {
            Some(now) => self.nodes.insert(id, now.clone()),
            None => self.nodes.remove(&id),
        };
        let was = before.as_ref();
        fn key(shown: Option<&ShownNode>) -> Option<&Vec<u8>> {
            shown.map(|shown| &shown.node.node_key)
        }
        if key(was) != key(now) {
            // Another node may have the key by now, as it may have the addresses below.
            if let Some(key) = key(was).filter(|key| self.node_by_key.get(*key) == Some(&id)) {
                self.node_by_key.remove(key);
            }
            if let Some(key) = key(now) {
                self.node_by_key.insert(key.clone(), id);
            }
        }
        fn addresses(shown: Option<&ShownNode>) -> impl Iterator<Item = &str> {
            shown.into_iter().flat_map(ShownNode::addresses)
        }
        if !addresses(was).eq(addresses(now)) {
            for address in addresses(was) {
                if self.node_by_address.get(address) == Some(&id) {
                    self.node_by_address.remove(address);
                }
            }
            for address in addresses(now) {
                self.node_by_address.insert(Arc::from(address), id);
            }
        }
        let is_offered = |shown: Option<&ShownNode>| shown.is_some_and(|shown| shown.offered);
        if !addresses(was).eq(addresses(now)) || is_offered(was) != is_offered(now) {
            for address in addresses(was).chain(addresses(now)) {
                self.update_hidden(address);
            }
        }
        fn class(shown: Option<&ShownNode>) -> impl Iterator<Item = &ClassId> + Clone {
            shown.into_iter().map(|shown| &shown.class)
        }
        self.nodes_by_class.replace(class(was), class(now), id);
        fn settings(shown: Option<&ShownNode>) -> impl Iterator<Item = &SettingsId> + Clone {
            shown.into_iter().map(|shown| &shown.settings)
        }
        self.nodes_by_settings
            .replace(settings(was), settings(now), id);
        let user = |shown: Option<&ShownNode>| shown.and_then(ShownNode::user);
        self.devices_by_user
            .replace(user(was).iter(), user(now).iter(), id);
        fn routes(shown: Option<&ShownNode>) -> impl Iterator<Item = &String> + Clone {
            let routes: Vec<_> = shown
                .into_iter()
                .flat_map(ShownNode::usable_routes)
                .collect();
            routes.into_iter()
        }
        self.nodes_by_route.replace(routes(was), routes(now), id);
        before
    }

    /// Says whether clients may be told an address: it is not that of a node that may not take part.
    #[must_use]
    pub fn may_name(&self, address: &str) -> bool {
        !self.hidden_addresses.contains(address)
    }

    fn update_hidden(&mut self, address: &str) {
        let holder = self.node_by_address.get(address);
        let shown = holder.and_then(|id| self.nodes.get(id));
        if shown.is_some_and(|shown| !shown.offered) {
            self.hidden_addresses.insert(Arc::from(address));
        } else {
            self.hidden_addresses.remove(address);
        }
    }

    /// Returns the nodes of a class, ascending.
    pub fn nodes_in_class(&self, class: ClassId) -> impl Iterator<Item = NodeId> {
        self.nodes_by_class.values_of(&class)
    }

    /// Returns the nodes with some settings, ascending.
    pub fn nodes_with_settings(&self, settings: SettingsId) -> impl Iterator<Item = NodeId> {
        self.nodes_by_settings.values_of(&settings)
    }

    /// Returns the devices of a user, ascending.
    pub fn devices_of_user(&self, user: Option<UserId>) -> impl Iterator<Item = NodeId> {
        user.into_iter()
            .flat_map(|user| self.devices_by_user.values_of(&user))
    }

    /// Returns the nodes that offer a usable route; one with several is there several times.
    pub fn routers(&self) -> impl Iterator<Item = NodeId> {
        let routes = self.nodes_by_route.keys();
        routes.flat_map(|route| self.nodes_by_route.values_of(route))
    }

    /// Returns the source lists of a node's own filter, given its class.
    pub fn filter_lists<'v>(
        &'v self,
        own: &ShownNode,
        class: &'v Class,
    ) -> impl Iterator<Item = SourceListKey> + use<'v> {
        let user = own.user();
        let rules = self.compiled.common_filter.iter().chain(&class.filter);
        rules.map(move |rule| SourceListKey {
            list: rule.source_list_id,
            user: user.filter(|_| rule.per_user),
        })
    }

    /// Returns the nodes that may be peers of a node, ascending.
    #[must_use]
    pub fn possible_peers(&self, own: &ShownNode) -> BTreeSet<NodeId> {
        let class = self.compiled.classes.get(&own.class);
        let mut found =
            class.map_or_else(BTreeSet::new, |class| self.nodes_seen_by(class, own.user()));
        found.remove(&own.id);
        found
    }

    /// Returns how many nodes there are in the classes that a class sees, and of a user; one that is both counts twice.
    #[must_use]
    pub fn count_nodes_seen_by(&self, class: &Class, user: Option<UserId>) -> usize {
        let classes = self.compiled.peer_classes(class).into_iter();
        let members = classes.map(|class| self.nodes_by_class.count_values_of(&class));
        let devices = user.map(|user| self.devices_by_user.count_values_of(&user));
        members.chain(devices).sum()
    }

    /// Returns the nodes of the classes that a class sees, and the devices of a user, ascending.
    #[must_use]
    pub fn nodes_seen_by(&self, class: &Class, user: Option<UserId>) -> BTreeSet<NodeId> {
        let classes = self.compiled.peer_classes(class);
        let members = classes
            .into_iter()
            .flat_map(|class| self.nodes_in_class(class));
        members.chain(self.devices_of_user(user)).collect()
    }
}
