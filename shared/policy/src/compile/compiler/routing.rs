//! Which nodes have which routes, and which routers the grants with `via` choose.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;

use super::{
    super::{output::ListId, route},
    Compiler,
};
use crate::inventory::PolicyNode;

impl Compiler {
    /// Returns the vias that may go through a node.
    pub(super) fn vias_through(&self, node: &PolicyNode) -> BTreeSet<u64> {
        let tags = node.tags.iter();
        let vias = tags.filter_map(|tag| self.plan.vias_by_tag.get(tag));
        vias.flatten().copied().collect()
    }

    /// Removes a node from the tables of users and routes.
    pub(super) fn remove_from_tables(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let (user, routes) = (node.user, node.subnet_routes().copied().collect::<Vec<_>>());
        self.tagged_routers.remove(node);
        if let Some(nodes) = self.nodes_by_user.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.nodes_by_user.remove(&user);
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
        let users = Arc::new(route::route_users(&self.plan, route));
        self.changes.routes.insert(route, Some(Arc::clone(&users)));
        self.routes.insert(route, users);
        let element: Arc<str> = Arc::from(route.to_string());
        for list in self.lists_with_routes() {
            if !self.plan.lists.has_literal(list, &element) {
                self.changes.add_element(list, &element);
            }
        }
    }

    fn remove_route(&mut self, route: IpNet) {
        self.routes.remove(&route);
        self.changes.routes.insert(route, None);
        let element: Arc<str> = Arc::from(route.to_string());
        for list in self.lists_with_routes() {
            if !self.plan.lists.has_literal(list, &element) {
                self.changes.remove_element(list, &element);
            }
        }
    }

    fn lists_with_routes(&self) -> Vec<ListId> {
        let lists = &self.plan.lists;
        let numbers = lists.lists_with_routes.iter();
        let id = |number: &u32| ListId {
            id: lists.all[*number as usize].id,
            user: 0,
        };
        numbers.map(id).collect()
    }

    /// Finds the routers of vias again.
    pub(super) fn refresh_vias(&mut self, vias: impl IntoIterator<Item = u64>) {
        for id in vias {
            let Some(number) = self.plan.rule_by_via.get(&id) else {
                continue;
            };
            let rule = self.plan.rule(*number);
            let via = Arc::new(self.tagged_routers.find_routers(rule, &self.nodes));
            if self.vias.get(&id) != Some(&via) {
                self.changes.vias.insert(id, Some(Arc::clone(&via)));
                self.vias.insert(id, via);
            }
        }
    }
}
