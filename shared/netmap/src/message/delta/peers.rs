//! Which peers of a node differ, and how.

use std::collections::BTreeSet;

use bowline_control_wire::MapResponse;
use bowline_ids::NodeId;

use super::{
    super::{
        node,
        peer_change::{PeerDifference, compare_shared_facts},
        viewer::{ClassVisibility, Viewer},
    },
    ViewerComparison,
};
use crate::{
    FilterSources, ShownNode,
    difference::{PeerGroup, PeerMove},
    view::ClassId,
};

impl ViewerComparison<'_> {
    pub(super) fn add_peers(&self, message: &mut MapResponse) {
        let mut one_by_one = self.peers_to_compare();
        for (moved, group) in self.difference.peers.groups() {
            if !self.add_group(*moved, group, message) {
                one_by_one.extend(group.nodes());
            }
        }
        one_by_one.remove(&self.now.own.id);
        for peer in one_by_one {
            let was = self
                .before
                .and_then(|viewer| Some((viewer, viewer.visible_peer(peer)?)));
            match (was, self.now.visible_peer(peer)) {
                (None, None) => {}
                (Some(_), None) => message.peers_removed.push(peer.get()),
                (None, Some(now)) => message.peers_changed.push(node::peer_node(self.now, now)),
                (Some((before, was)), Some(now)) => {
                    self.add_changed_peer(before, was, now, message)
                }
            }
        }
    }

    /// Adds what is told of a group of nodes, if it is the same for all that are seen; says whether it is.
    fn add_group(&self, moved: PeerMove, group: &PeerGroup, message: &mut MapResponse) -> bool {
        let Some(before) = self.before.filter(|before| self.sees_alike(*before)) else {
            return false;
        };
        let (now, was_settings) = (self.now, moved.before.settings);
        let has_same_lists = now.at.view.sources == FilterSources::Addresses
            || self.difference.changes.lists.is_empty() && moved.before.class == moved.now.class;
        let visibility = now.visibility_of(moved.now.class);
        if !has_same_lists
            || before.visibility_of(moved.before.class) != visibility
            || before.hide_ipv4(was_settings) != now.hide_ipv4(moved.now.settings)
            || before.peer_capabilities(was_settings) != now.peer_capabilities(moved.now.settings)
        {
            return false;
        }
        let (told, own) = (&mut message.peers_changed_patch, now.own);
        match (visibility, own.user()) {
            (ClassVisibility::All, _) => told.extend(group.patches_without(own.id)),
            (ClassVisibility::OwnDevices, Some(user)) => {
                told.extend(group.patches_of_user(user, own.id));
            }
            (ClassVisibility::OwnDevices, None) | (ClassVisibility::None, _) => {}
        }
        true
    }

    /// Says whether the node is of the same user as before, and has an IPv4 address as before: then what it sees of nodes
    /// without routes depends on its class alone.
    fn sees_alike(&self, before: Viewer<'_>) -> bool {
        before.own.user() == self.now.own.user()
            && before.hide_ipv4(before.own.settings) == self.now.hide_ipv4(self.now.own.settings)
    }

    /// Returns the nodes that may be seen otherwise than before, those of groups not among them.
    fn peers_to_compare(&self) -> BTreeSet<NodeId> {
        let (changes, view) = (&self.difference.changes, self.now.at.view);
        let mut peers = self.difference.peers.alone().clone();
        for viewer in self.before.iter().chain([&self.now]) {
            peers.extend(viewer.rival_routers(|id| changes.nodes.contains_key(&id)));
        }
        if view.sources == FilterSources::Capabilities {
            let lists = self.now.filter_lists();
            let relisted = lists.filter_map(|list| changes.lists.get(&list)).flatten();
            peers.extend(relisted.filter_map(|element| view.node_by_address.get(element)));
        }
        if self.difference.compare_all_peers.contains(self.now.own) {
            self.add_all_peers(&mut peers);
        }
        peers
    }

    /// Adds the nodes that were peers or are, but for those that are both for sure.
    fn add_all_peers(&self, peers: &mut BTreeSet<NodeId>) {
        let view = self.now.at.view;
        let both = self.before.iter().chain([&self.now]);
        let classes: BTreeSet<_> = both
            .clone()
            .flat_map(|viewer| view.compiled.peer_classes(viewer.class))
            .collect();
        for class in classes {
            if !self.keeps_class(class) {
                peers.extend(view.nodes_in_class(class));
            }
        }
        peers.extend(both.flat_map(|viewer| view.devices_of_user(viewer.own.user())));
        // Which routes lead through a router depends on the selectors of the node's class.
        let routers = view.routers();
        peers.extend(routers.filter(|router| self.now.visible_peer(*router).is_some()));
    }

    /// Says whether all nodes of a class were peers and are.
    fn keeps_class(&self, class: ClassId) -> bool {
        let is_seen = |viewer: Viewer<'_>| viewer.visibility_of(class) == ClassVisibility::All;
        let before = self.before.filter(|before| self.sees_alike(*before));
        self.now.at.view.sources == FilterSources::Addresses
            && before.is_some_and(is_seen)
            && is_seen(self.now)
    }

    /// Says whether a peer came to a source list of the node's own filter, or left one: mostly with its class, but one
    /// that waits for a class computed from it stays in its class.
    fn is_relisted(&self, peer: &ShownNode) -> bool {
        let mut lists = self.now.filter_lists();
        lists.any(|list| {
            let elements = self.difference.changes.lists.get(&list);
            elements.is_some_and(|some| peer.addresses().any(|address| some.contains(address)))
        })
    }

    fn add_changed_peer(
        &self,
        before: Viewer<'_>,
        was: &ShownNode,
        now: &ShownNode,
        message: &mut MapResponse,
    ) {
        let same_lists = self.now.at.view.sources == FilterSources::Addresses
            || (was.class == now.class && !self.is_relisted(now));
        let same = same_lists
            && before.routes_through(was) == self.now.routes_through(now)
            && before.hides_ipv4_of(was) == self.now.hides_ipv4_of(now)
            && before.peer_capabilities(was.settings) == self.now.peer_capabilities(now.settings);
        match (same, compare_shared_facts(was, now)) {
            (true, PeerDifference::Same) => {}
            (true, PeerDifference::Fields(change)) => message.peers_changed_patch.push(*change),
            _ => message.peers_changed.push(node::peer_node(self.now, now)),
        }
    }
}
