//! What differs between two views, and what of which messages depends on it: the one table of dependencies.
//!
//! | what differs | whose message | what of it |
//! |---|---|---|
//! | the tailnet's settings, its relays | everybody's | everything |
//! | its DNS settings | everybody's | the DNS settings |
//! | tailnet lock | everybody's | what is told of it |
//! | the rules that all nodes have | everybody's | the whole filter |
//! | a node | its own | its own node and SSH rules; of another class, user or route all peers; of another address or user the whole filter |
//! | | who sees the node, before or now, and its user's devices | the node as a peer, its user's profile |
//! | | whose via routes lead through the node | the other routers of these routes as peers |
//! | | whose source lists name an address that came or went with the node | these chunks of the filter, the SSH rules |
//! | a user | who sees one of the user's devices | the user's profile |
//! | a class | its nodes' | of other selectors or via routes all peers; of other rules the whole filter |
//! | | who sees its nodes | these as peers |
//! | settings of a policy | the nodes with them | their own node and SSH rules; with or without IPv4 all peers |
//! | | who sees these nodes | these as peers |
//! | a subnet route | who uses it, or is reached from behind it | its routers as peers |
//! | a via | the classes that use it | all peers |
//! | a source list | the classes whose filter has it | its chunk of the filter; where filters name capabilities, the nodes in it as peers |
//! | | the nodes whose SSH rules have it | the SSH rules |
//!
//! [`Difference::find`] has one function for each part of a view, and does not compile without one. What is found
//! answers three questions: which nodes look again ([`Difference::concerned_nodes`]), what a node compares
//! (the fields, read by [`build_delta`](crate::build_delta)), and which shared encodings still hold
//! ([`Difference::tells_class_alike`], [`PeerBlocks`](crate::PeerBlocks)).
//!
//! An example: node 2 of class A moves to class B. Row "a node": node 2 and all that see class A or class B look again.
//! Node 2 compares all its peers, every other node that looks compares node 2 alone. Nothing else is read.

mod concerned_nodes;
mod peer_groups;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ids::{NodeId, UserId};
use bowline_proto::policy::v1::{Class, FilterRule, Settings};

use crate::{
    change_set::ChangeSet,
    view::{ClassId, SettingsId, ShownNode, SourceListKey, View, see_each_other, ssh_source_lists},
    view_at::ViewAt,
};

pub use concerned_nodes::{ConcernedNodes, ViewerGroup};
pub(crate) use peer_groups::{ChangedPeers, PeerGroup, PeerMove};

/// What differs between a view and an earlier one, and whom it concerns. Made once and shared by all sessions.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// What differs, each with how it was.
    pub(crate) changes: Arc<ChangeSet>,
    /// Nodes that may look otherwise as peers.
    pub(crate) peers: ChangedPeers,
    /// Nodes that compare all of their peers: what they may see is decided otherwise than before.
    pub(crate) compare_all_peers: NodeSet,
    /// Nodes that are told their whole filter.
    pub(crate) whole_filter: NodeSet,
    /// Nodes that may be told otherwise of themselves, their SSH rules included.
    pub(crate) changed_for_itself: BTreeSet<NodeId>,
    /// Addresses that stand in source lists before or now and not both times, because of their nodes.
    pub(crate) moved_addresses: BTreeSet<String>,
    /// Classes whose nodes may look otherwise to those who see them.
    seen_classes: BTreeSet<ClassId>,
    /// Such classes of which all nodes may be told otherwise, too.
    changed_classes: BTreeSet<ClassId>,
    /// Users whose devices may look otherwise to each other.
    seen_users: BTreeMap<UserId, ChangedDevices>,
}

/// Which devices of a user may look otherwise to its others.
#[derive(Clone, Debug)]
enum ChangedDevices {
    /// Some of these classes, which they were in before, too. They have been the user's, and shown, all the time.
    Steady(BTreeSet<ClassId>),
    /// Any.
    Any,
}

/// Nodes, given by their classes or one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeSet {
    classes: BTreeSet<ClassId>,
    nodes: BTreeSet<NodeId>,
}

impl NodeSet {
    /// Says whether a node, as it is shown now, is one of them.
    pub(crate) fn contains(&self, shown: &ShownNode) -> bool {
        self.classes.contains(&shown.class) || self.nodes.contains(&shown.id)
    }
}

impl Difference {
    /// Finds whom the changes that led to a view concern.
    #[must_use]
    pub fn find(view: &View, changes: &Arc<ChangeSet>) -> Self {
        let ChangeSet {
            nodes,
            classes,
            settings,
            routes,
            vias,
            users,
            // Looked up by each node that has such a list.
            lists: _,
            // What concerns everybody needs no search.
            common_filter: _,
            dns: _,
            lock: _,
            everything: _,
        } = &**changes;
        let mut found = Self {
            changes: Arc::clone(changes),
            ..Self::default()
        };
        let before = ViewAt::before(view, changes);
        for (id, was) in nodes {
            found.add_node(before, *id, was.as_ref());
        }
        for user in users {
            found.add_user(view, *user);
        }
        for (id, was) in classes {
            found.add_class(before, *id, was.as_deref());
        }
        for (id, was) in settings {
            found.add_settings(before, *id, was.as_deref());
        }
        for prefix in routes.keys() {
            for node in view.nodes_by_route.values_of(prefix) {
                found.add_peer(before, node);
            }
        }
        for via in vias.keys() {
            let classes = view.compiled.classes_with_via(*via);
            found.compare_all_peers.classes.extend(classes);
        }
        found
    }

    /// Returns what differs, each with how it was.
    #[must_use]
    pub fn changes(&self) -> &Arc<ChangeSet> {
        &self.changes
    }

    /// The row of a node.
    fn add_node(&mut self, before: ViewAt<'_>, id: NodeId, was: Option<&ShownNode>) {
        let now = ViewAt::now(before.view).node(id);
        self.peers.add(id, was, now);
        self.changed_for_itself.insert(id);
        for shown in was.into_iter().chain(now) {
            self.seen_classes.insert(shown.class);
        }
        self.add_device(was, now);
        if offered_addresses(was) != offered_addresses(now) {
            let both = was.into_iter().chain(now);
            let addresses = both.flat_map(ShownNode::addresses);
            self.moved_addresses.extend(addresses.map(str::to_owned));
        }
        let (Some(was), Some(now)) = (was, now) else {
            self.compare_all_peers.nodes.insert(id);
            self.whole_filter.nodes.insert(id);
            return;
        };
        let hides_ipv4 = |at: ViewAt<'_>, shown: &ShownNode| {
            let settings = at.settings(shown.settings);
            settings.is_some_and(|settings| settings.hide_ipv4)
        };
        let sees_alike = was.class == now.class
            && was.user() == now.user()
            && was.usable_routes().eq(now.usable_routes())
            && hides_ipv4(before, was) == hides_ipv4(ViewAt::now(before.view), now);
        if !sees_alike {
            self.compare_all_peers.nodes.insert(id);
        }
        fn filter<'v>(at: ViewAt<'v>, shown: &ShownNode) -> Option<&'v Vec<FilterRule>> {
            at.class(shown.class).map(|class| &class.filter)
        }
        let has_filter_alike = was.addresses().eq(now.addresses())
            && was.user() == now.user()
            && (was.class == now.class
                || filter(before, was) == filter(ViewAt::now(before.view), now));
        if !has_filter_alike {
            self.whole_filter.nodes.insert(id);
        }
    }

    /// Notes that a node may look otherwise as a peer.
    fn add_peer(&mut self, before: ViewAt<'_>, id: NodeId) {
        let now = ViewAt::now(before.view).node(id);
        self.peers.add(id, before.node(id), now);
    }

    /// Notes which other devices of its user a node may look otherwise to.
    fn add_device(&mut self, was: Option<&ShownNode>, now: Option<&ShownNode>) {
        let belongs = |shown: &ShownNode| (shown.class, shown.user(), shown.offered);
        let is_steady = was.map(belongs) == now.map(belongs);
        for shown in was.into_iter().chain(now) {
            let Some(user) = shown.user() else { continue };
            let changed = self.seen_users.entry(user);
            let changed = changed.or_insert_with(|| ChangedDevices::Steady(BTreeSet::new()));
            match changed {
                ChangedDevices::Steady(classes) if is_steady => {
                    classes.insert(shown.class);
                }
                _ => *changed = ChangedDevices::Any,
            }
        }
    }

    /// The row of a user.
    fn add_user(&mut self, view: &View, user: UserId) {
        self.seen_classes.extend(classes_of_user(view, user));
    }

    /// The row of a class.
    fn add_class(&mut self, before: ViewAt<'_>, id: ClassId, was: Option<&Class>) {
        for node in before.view.nodes_in_class(id) {
            self.add_peer(before, node);
        }
        self.changed_classes.insert(id);
        let now = before.view.compiled.classes.get(&id).map(|class| &**class);
        let (Some(was), Some(now)) = (was, now) else {
            self.compare_all_peers.classes.insert(id);
            self.whole_filter.classes.insert(id);
            return;
        };
        let sees_alike = was.sees == now.sees
            && was.selectors == now.selectors
            && was.sees_own == now.sees_own
            && was.exit_routes == now.exit_routes
            && was.vias == now.vias;
        if !sees_alike {
            self.compare_all_peers.classes.insert(id);
        }
        if was.filter != now.filter {
            self.whole_filter.classes.insert(id);
        }
    }

    /// The row of a policy's settings.
    fn add_settings(&mut self, before: ViewAt<'_>, id: SettingsId, was: Option<&Settings>) {
        let view = before.view;
        let now = view.compiled.settings.get(&id);
        let hides_ipv4 = |settings: Option<&Settings>| settings.is_some_and(|set| set.hide_ipv4);
        let sees_alike = hides_ipv4(was) == hides_ipv4(now.map(|settings| &**settings));
        for node in view.nodes_with_settings(id) {
            self.add_peer(before, node);
            self.changed_for_itself.insert(node);
            if !sees_alike {
                self.compare_all_peers.nodes.insert(node);
            }
            if let Some(shown) = view.nodes.get(&node) {
                self.changed_classes.insert(shown.class);
                let user = shown.user().into_iter();
                self.seen_users
                    .extend(user.map(|user| (user, ChangedDevices::Any)));
            }
        }
    }

    /// Says whether each node of a class is told the same as this one: not what concerns its own node, its user, its
    /// user's devices where not the whole class sees them, or what it sees otherwise than its class.
    #[must_use]
    pub fn tells_class_alike(&self, view: &View, own: &ShownNode) -> bool {
        let changes = &self.changes;
        let settings = view.compiled.settings.get(&own.settings);
        let is_close =
            |user| changes.users.contains(&user) || self.has_own_devices(view, own.class, user);
        changes.is_of_nodes_only()
            && !changes.nodes.contains_key(&own.id)
            && !own.user().is_some_and(is_close)
            && own.usable_routes().next().is_none()
            && settings.is_none_or(|settings| !settings.hide_ipv4)
            && !self.own_rules_have_moved_address(view, own)
    }

    /// Says whether a node of a class may be told of devices of its user what its class is not told.
    fn has_own_devices(&self, view: &View, class: ClassId, user: UserId) -> bool {
        let class_of = |id| view.compiled.classes.get(&id);
        match self.seen_users.get(&user) {
            None => false,
            Some(ChangedDevices::Any) => true,
            Some(ChangedDevices::Steady(classes)) => {
                let is_seen = |other| {
                    let both = class_of(class).zip(class_of(other));
                    both.is_some_and(|(class, other)| see_each_other(class, other))
                };
                !classes.iter().all(|other| is_seen(*other))
            }
        }
    }

    /// Says whether an address of a source list came or went with its node.
    pub(crate) fn list_has_moved_address(&self, view: &View, list: SourceListKey) -> bool {
        let Some(elements) = view.compiled.lists.get(&list) else {
            return false;
        };
        if elements.len() < self.moved_addresses.len() {
            return elements
                .iter()
                .any(|element| self.moved_addresses.contains(&**element));
        }
        let mut moved = self.moved_addresses.iter();
        moved.any(|address| elements.contains(address.as_str()))
    }

    /// Says whether a node's own filter or SSH rules name an address that came or went with its node.
    fn own_rules_have_moved_address(&self, view: &View, own: &ShownNode) -> bool {
        if self.moved_addresses.is_empty() {
            return false;
        }
        let class = view.compiled.classes.get(&own.class);
        let mut filters = class
            .into_iter()
            .flat_map(|class| view.filter_lists(own, class));
        let settings = view.compiled.settings.get(&own.settings);
        let mut logins = settings.into_iter().flat_map(|set| ssh_source_lists(set));
        filters.any(|list| self.list_has_moved_address(view, list))
            || logins.any(|list| self.list_has_moved_address(view, list))
    }
}

/// What filters say of a node: its addresses, and whether they are written.
fn offered_addresses(shown: Option<&ShownNode>) -> Option<(&str, &str, bool)> {
    shown.map(|shown| (&*shown.node.ipv4, &*shown.node.ipv6, shown.offered))
}

/// Returns the classes of a user's devices.
fn classes_of_user(view: &View, user: UserId) -> impl Iterator<Item = ClassId> {
    let devices = view.devices_of_user(Some(user));
    devices.filter_map(|device| view.nodes.get(&device).map(|shown| shown.class))
}

#[cfg(test)]
mod tests;
