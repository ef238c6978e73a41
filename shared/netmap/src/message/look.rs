//! What a node may see, now or as it was before some changes.

use std::collections::BTreeSet;

use bowline_proto::policy::v1::{Class, FilterRule, Pass, Route, Settings, Via, ViaRoute};

use super::node::EXIT_ROUTES;
use crate::{ChangeSet, ListKey, Shown, Sources, View, intersect, see_each_other};

/// A view as it is, or as it was before some changes.
#[derive(Clone, Copy)]
pub(crate) struct Look<'v> {
    pub(crate) view: &'v View,
    before: Option<&'v ChangeSet>,
}

impl<'v> Look<'v> {
    /// Returns the view as it is.
    pub(crate) const fn now(view: &'v View) -> Self {
        Self { view, before: None }
    }

    /// Returns the view as it was before some changes.
    pub(crate) const fn before(view: &'v View, changes: &'v ChangeSet) -> Self {
        Self {
            view,
            before: Some(changes),
        }
    }

    /// Returns a node.
    pub(crate) fn node(self, id: u64) -> Option<&'v Shown> {
        match self.before.and_then(|changes| changes.nodes.get(&id)) {
            Some(before) => before.as_ref(),
            None => self.view.nodes.get(&id),
        }
    }

    /// Returns a class.
    pub(crate) fn class(self, id: u64) -> Option<&'v Class> {
        match self.before.and_then(|changes| changes.classes.get(&id)) {
            Some(before) => before.as_deref(),
            None => self.view.compiled.classes.get(&id).map(|class| &**class),
        }
    }

    /// Returns settings.
    pub(crate) fn settings(self, id: u64) -> Option<&'v Settings> {
        match self.before.and_then(|changes| changes.settings.get(&id)) {
            Some(before) => before.as_deref(),
            None => self
                .view
                .compiled
                .settings
                .get(&id)
                .map(|settings| &**settings),
        }
    }

    fn route(self, prefix: &str) -> Option<&'v Route> {
        match self.before.and_then(|changes| changes.routes.get(prefix)) {
            Some(before) => before.as_deref(),
            None => self.view.compiled.routes.get(prefix).map(|route| &**route),
        }
    }

    fn via(self, id: u64) -> Option<&'v Via> {
        match self.before.and_then(|changes| changes.vias.get(&id)) {
            Some(before) => before.as_deref(),
            None => self.view.compiled.vias.get(&id).map(|way| &**way),
        }
    }
}

/// The eyes of one node.
#[derive(Clone, Copy)]
pub(crate) struct Eyes<'v> {
    pub(crate) look: Look<'v>,
    pub(crate) own: &'v Shown,
    pub(crate) class: &'v Class,
}

impl<'v> Eyes<'v> {
    /// Returns the eyes of a node that is shown now.
    pub(crate) fn now(view: &'v View, id: u64) -> Option<Self> {
        Self::of(Look::now(view), id)
    }

    /// Returns the eyes of a node that is shown.
    pub(crate) fn of(look: Look<'v>, id: u64) -> Option<Self> {
        let own = look.node(id)?;
        let class = look.class(own.class)?;
        Some(Self { look, own, class })
    }

    /// Returns a node when it is a peer.
    pub(crate) fn peer(self, id: u64) -> Option<&'v Shown> {
        let peer = self
            .look
            .node(id)
            .filter(|peer| peer.offered && id != self.own.node.id)?;
        let class = self.look.class(peer.class)?;
        let are_own = || peer.user().is_some() && peer.user() == self.own.user();
        let is_peer = see_each_other(self.class, class)
            || ((self.class.sees_own || class.sees_own) && are_own());
        is_peer.then_some(peer)
    }

    /// Says whether a node's IPv4 address is kept from this one: neither of them has one for the other.
    pub(crate) fn hides_ipv4_of(self, shown: &Shown) -> bool {
        let hides = |shown: &Shown| {
            self.look
                .settings(shown.settings)
                .is_some_and(|set| set.hide_ipv4)
        };
        hides(shown) || hides(self.own)
    }

    /// Returns the source lists of the node's own filter.
    pub(crate) fn lists(self) -> impl Iterator<Item = ListKey> {
        let common = self.look.view.compiled.common_filter.iter();
        let user = self.own.user().unwrap_or_default();
        let key =
            move |rule: &FilterRule| (rule.source_list_id, if rule.per_user { user } else { 0 });
        common.chain(&self.class.filter).map(key)
    }

    /// Returns the source lists of the node's own filter that a peer is in, where filters name them by a capability.
    pub(crate) fn lists_of(self, peer: &Shown) -> BTreeSet<ListKey> {
        let view = self.look.view;
        if view.sources == Sources::Addresses {
            return BTreeSet::new();
        }
        let has = |key: &ListKey| {
            let list = view.compiled.lists.get(key);
            list.is_some_and(|list| peer.addresses().any(|address| list.contains(address)))
        };
        self.lists().filter(has).collect()
    }

    /// Returns the routes it has through a peer: subnets first, then the two of an exit node
    /// (policy section 13.2).
    pub(crate) fn routes_through(self, peer: &Shown) -> Vec<String> {
        let is_exit = |route: &str| EXIT_ROUTES.contains(&route);
        let subnets = peer
            .usable_routes()
            .filter(|route| !is_exit(route.as_str()));
        let mut routes: Vec<_> = subnets
            .filter(|route| self.routes_by(peer, route))
            .cloned()
            .collect();
        if self.exits_by(peer) {
            routes.extend(
                peer.usable_routes()
                    .filter(|route| is_exit(route.as_str()))
                    .cloned(),
            );
        }
        routes
    }

    /// Says whether a subnet route leads through a peer.
    fn routes_by(self, peer: &Shown, prefix: &String) -> bool {
        let route = self.look.route(prefix);
        let is_primary = peer.node.primary_routes.contains(prefix);
        let reaches = route.is_some_and(|route| intersect(&self.class.selectors, &route.users))
            || self.own.usable_routes().any(|own| own == prefix);
        if reaches {
            return is_primary;
        }
        match self.chosen_router(prefix) {
            Some(chosen) => chosen == peer.node.id,
            None => is_primary && route.is_some_and(|route| self.is_reached(route, peer)),
        }
    }

    /// Says whether what is behind a route of a peer reaches this node.
    fn is_reached(self, route: &Route, peer: &Shown) -> bool {
        let has = |pass: &Pass| {
            route.reached.binary_search(&pass.way_id).is_ok()
                && self.class.selectors.binary_search(&pass.selector).is_ok()
        };
        let class = self.look.class(peer.class);
        intersect(&self.class.selectors, &route.reached)
            || class.is_some_and(|class| class.passes.iter().any(has))
    }

    /// Returns the router of a route that the policy chooses for this node: of those the first that is online.
    fn chosen_router(self, route: &str) -> Option<u64> {
        let ways = self.class.vias.iter().filter_map(|id| self.look.via(*id));
        let routes = ways
            .flat_map(|way| &way.routes)
            .filter(|way| way.prefix == route);
        let candidates: BTreeSet<_> = routes.flat_map(|way| &way.node_ids).copied().collect();
        let offered = candidates
            .iter()
            .filter_map(|id| self.look.node(*id))
            .filter(|shown| shown.offered);
        let offered: Vec<_> = offered.collect();
        let online = offered
            .iter()
            .find(|shown| shown.soft.online)
            .or_else(|| offered.first());
        online.map(|shown| shown.node.id)
    }

    fn exits_by(self, peer: &Shown) -> bool {
        let mut ways = self.class.vias.iter().filter_map(|id| self.look.via(*id));
        self.class.exit_routes || ways.any(|way| way.exit_node_ids.contains(&peer.node.id))
    }

    /// Returns the nodes that a choice of routers may move a route between, because one of them changed.
    pub(crate) fn rivals(self, changed: impl Fn(u64) -> bool) -> BTreeSet<u64> {
        let ways = self.class.vias.iter().filter_map(|id| self.look.via(*id));
        let routes = ways.flat_map(|way| &way.routes);
        let moved = routes.filter(|route| route.node_ids.iter().any(|id| changed(*id)));
        // Without any of the chosen it may be the common router.
        let common = |route: &ViaRoute| self.look.view.routers.get(&route.prefix).cloned();
        moved
            .flat_map(|route| {
                let routers = common(route).into_iter().flatten();
                routers.chain(route.node_ids.iter().copied())
            })
            .collect()
    }
}
