//! What a node may see, now or as it was before some changes.

use std::collections::BTreeSet;

use bowline_ids::NodeId;
use bowline_proto::policy::v1::{Capability, Class, Pass, Route, ViaRoute};

use super::node::EXIT_ROUTES;
use crate::{
    ClassId, FilterSources, SettingsId, ShownNode, SourceListKey, View, have_common_element,
    see_each_other, view_at::ViewAt,
};

/// A node that looks at others, at one time.
#[derive(Clone, Copy)]
pub(crate) struct Viewer<'v> {
    pub(crate) at: ViewAt<'v>,
    pub(crate) own: &'v ShownNode,
    pub(crate) class: &'v Class,
}

/// Which nodes of a class a node sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClassVisibility {
    /// All that are offered.
    All,
    /// Those of its user.
    OwnDevices,
    /// None.
    None,
}

impl<'v> Viewer<'v> {
    /// Returns a node that is shown, as a viewer of now.
    pub(crate) fn now(view: &'v View, id: NodeId) -> Option<Self> {
        Self::at(ViewAt::now(view), id)
    }

    /// Returns a node that is shown, as a viewer of that time.
    pub(crate) fn at(at: ViewAt<'v>, id: NodeId) -> Option<Self> {
        let own = at.node(id)?;
        let class = at.class(own.class)?;
        Some(Self { at, own, class })
    }

    /// Returns a node when it is a peer.
    pub(crate) fn visible_peer(self, id: NodeId) -> Option<&'v ShownNode> {
        let peer = self
            .at
            .node(id)
            .filter(|peer| peer.offered && id != self.own.id)?;
        let is_peer = match self.visibility_of(peer.class) {
            ClassVisibility::All => true,
            ClassVisibility::OwnDevices => peer.user().is_some() && peer.user() == self.own.user(),
            ClassVisibility::None => false,
        };
        is_peer.then_some(peer)
    }

    /// Returns which nodes of a class may be peers.
    pub(crate) fn visibility_of(self, class: ClassId) -> ClassVisibility {
        let Some(class) = self.at.class(class) else {
            return ClassVisibility::None;
        };
        if see_each_other(self.class, class) {
            ClassVisibility::All
        } else if self.class.sees_own || class.sees_own {
            ClassVisibility::OwnDevices
        } else {
            ClassVisibility::None
        }
    }

    /// Says whether a device of this node's user is no peer of the rest of its class: if it is one of this node, then only because
    /// both are of the same user.
    pub(crate) fn sees_only_as_own(self, device: NodeId) -> bool {
        let class = self.at.node(device).map(|device| device.class);
        let class = class.and_then(|class| self.at.class(class));
        class.is_some_and(|class| !see_each_other(self.class, class))
    }

    /// Says whether a node's IPv4 address is kept from this one: neither of them has one for the other.
    pub(crate) fn hides_ipv4_of(self, shown: &ShownNode) -> bool {
        self.hide_ipv4(shown.settings) || self.hide_ipv4(self.own.settings)
    }

    /// Says whether nodes with some settings are without IPv4.
    pub(crate) fn hide_ipv4(self, settings: SettingsId) -> bool {
        let settings = self.at.settings(settings);
        settings.is_some_and(|settings| settings.hide_ipv4)
    }

    /// Returns the capabilities that nodes with some settings have for all who see them.
    pub(crate) fn peer_capabilities(self, settings: SettingsId) -> &'v [Capability] {
        let settings = self.at.settings(settings);
        settings.map_or(&[], |settings| &settings.peer_capabilities)
    }

    /// Returns the source lists of the node's own filter.
    pub(crate) fn filter_lists(self) -> impl Iterator<Item = SourceListKey> {
        self.at.view.filter_lists(self.own, self.class)
    }

    /// Returns the source lists of the node's own filter that a peer is in, where filters name them by a capability.
    pub(crate) fn filter_lists_with(self, peer: &ShownNode) -> BTreeSet<SourceListKey> {
        let view = self.at.view;
        if view.sources == FilterSources::Addresses {
            return BTreeSet::new();
        }
        let has = |key: &SourceListKey| {
            let list = view.compiled.lists.get(key);
            list.is_some_and(|list| peer.addresses().any(|address| list.contains(address)))
        };
        self.filter_lists().filter(has).collect()
    }

    /// Returns the routes it has through a peer: subnets first, then the two of an exit node
    /// (policy section 13.2).
    pub(crate) fn routes_through(self, peer: &ShownNode) -> Vec<String> {
        let is_exit = |route: &str| EXIT_ROUTES.contains(&route);
        let subnets = peer
            .usable_routes()
            .filter(|route| !is_exit(route.as_str()));
        let mut routes: Vec<_> = subnets
            .filter(|route| self.reaches_subnet_through(peer, route))
            .cloned()
            .collect();
        if self.may_exit_through(peer) {
            routes.extend(
                peer.usable_routes()
                    .filter(|route| is_exit(route.as_str()))
                    .cloned(),
            );
        }
        routes
    }

    /// Says whether a subnet route leads through a peer.
    fn reaches_subnet_through(self, peer: &ShownNode, prefix: &String) -> bool {
        let route = self.at.route(prefix);
        let is_primary = peer.node.primary_routes.contains(prefix);
        let reaches = route
            .is_some_and(|route| have_common_element(&self.class.selectors, &route.users))
            || self.own.usable_routes().any(|own| own == prefix);
        if reaches {
            return is_primary;
        }
        match self.chosen_router(prefix) {
            Some(chosen) => chosen == peer.id,
            None => is_primary && route.is_some_and(|route| self.is_reached(route, peer)),
        }
    }

    /// Says whether what is behind a route of a peer reaches this node.
    fn is_reached(self, route: &Route, peer: &ShownNode) -> bool {
        let has = |pass: &Pass| {
            route.reached.binary_search(&pass.way_id).is_ok()
                && self.class.selectors.binary_search(&pass.selector).is_ok()
        };
        let class = self.at.class(peer.class);
        have_common_element(&self.class.selectors, &route.reached)
            || class.is_some_and(|class| class.passes.iter().any(has))
    }

    /// Returns the router of a route that the policy chooses for this node: of those the first that is online.
    fn chosen_router(self, route: &str) -> Option<NodeId> {
        let vias = self.class.vias.iter().filter_map(|id| self.at.via(*id));
        let routes = vias
            .flat_map(|via| &via.routes)
            .filter(|via_route| via_route.prefix == route);
        let candidates: BTreeSet<_> = routes.flat_map(routers).collect();
        let offered = candidates
            .iter()
            .filter_map(|id| self.at.node(*id))
            .filter(|shown| shown.offered);
        let offered: Vec<_> = offered.collect();
        let online = offered
            .iter()
            .find(|shown| shown.soft.online)
            .or_else(|| offered.first());
        online.map(|shown| shown.id)
    }

    fn may_exit_through(self, peer: &ShownNode) -> bool {
        let mut vias = self.class.vias.iter().filter_map(|id| self.at.via(*id));
        self.class.exit_routes || vias.any(|via| via.exit_node_ids.contains(&peer.id.get()))
    }

    /// Returns the nodes that a choice of routers may move a route between, because one of them changed.
    pub(crate) fn rival_routers(self, changed: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
        let vias = self.class.vias.iter().filter_map(|id| self.at.via(*id));
        let routes = vias.flat_map(|via| &via.routes);
        let moved = routes.filter(|route| routers(route).any(&changed));
        // Without any of the chosen it may be the common router.
        let by_route = &self.at.view.nodes_by_route;
        moved
            .flat_map(|route| by_route.values_of(&route.prefix).chain(routers(route)))
            .collect()
    }
}

/// Returns the routers that a route of a via is led through, the first that is online.
fn routers(route: &ViaRoute) -> impl Iterator<Item = NodeId> {
    let numbers = route.node_ids.iter();
    numbers.filter_map(|number| NodeId::try_from(*number).ok())
}
