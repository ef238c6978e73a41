//! Who routes what, and the ways through chosen routers.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;

use super::{
    super::{output::ListId, route},
    Compiler,
};
use crate::inventory::Node;

impl Compiler {
    /// Returns the ways that may go through a node.
    pub(super) fn ways_of(&self, node: Option<&Node>) -> BTreeSet<u64> {
        let tags = node.into_iter().flat_map(|node| &node.tags);
        let ways = tags.filter_map(|tag| self.plan.ways_of.get(tag));
        ways.flatten().copied().collect()
    }

    /// Takes a node out of the tables of the inventory.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let (user, routes) = (node.user, node.subnet_routes().copied().collect::<Vec<_>>());
        self.tagged_routers.remove(node);
        if let Some(nodes) = self.nodes_of.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.nodes_of.remove(&user);
            }
        }
        for route in routes {
            let routers = self.routers.entry(route).or_default();
            routers.remove(&id);
            if routers.is_empty() {
                self.routers.remove(&route);
                self.remove_route(route);
            }
        }
    }

    pub(super) fn add_route(&mut self, route: IpNet) {
        let users = Arc::new(route::users(&self.plan, route));
        self.changes.routes.insert(route, Some(Arc::clone(&users)));
        self.routes.insert(route, users);
        let element: Arc<str> = Arc::from(route.to_string());
        for list in self.lists_with_routes() {
            if !self.plan.lists.has_literal(list, &element) {
                self.changes.add(list, &element);
            }
        }
    }

    fn remove_route(&mut self, route: IpNet) {
        self.routes.remove(&route);
        self.changes.routes.insert(route, None);
        let element: Arc<str> = Arc::from(route.to_string());
        for list in self.lists_with_routes() {
            if !self.plan.lists.has_literal(list, &element) {
                self.changes.remove(list, &element);
            }
        }
    }

    fn lists_with_routes(&self) -> Vec<ListId> {
        let lists = &self.plan.lists;
        let numbers = lists.with_routes.iter();
        let id = |number: &u32| ListId {
            id: lists.all[*number as usize].id,
            user: 0,
        };
        numbers.map(id).collect()
    }

    /// Works out ways through chosen routers again.
    pub(super) fn refresh_vias(&mut self, ways: impl IntoIterator<Item = u64>) {
        for id in ways {
            let Some(number) = self.plan.vias.get(&id) else {
                continue;
            };
            let rule = self.plan.rule(*number);
            let way = Arc::new(self.tagged_routers.way(rule, &self.nodes));
            if self.vias.get(&id) != Some(&way) {
                self.changes.vias.insert(id, Some(Arc::clone(&way)));
                self.vias.insert(id, way);
            }
        }
    }
}
