//! Which classes look again.

use std::collections::BTreeSet;

use bowline_proto::policy::v1::Route;

use super::{Difference, classes_of_user};
use crate::view::{ClassId, SourceListKey, View};

impl Difference {
    /// Returns the classes of which some session has to look again, or `None` for all of them.
    #[must_use]
    pub fn concerned_classes(&self, view: &View) -> Option<BTreeSet<ClassId>> {
        let changes = &self.changes;
        if changes.everything || changes.dns || changes.lock || changes.common_filter {
            return None;
        }
        let mut common = view.compiled.common_filter.iter();
        let everybodys = |list| SourceListKey { list, user: None };
        let differs = |list: SourceListKey| {
            changes.lists.contains_key(&list) || self.list_has_moved_address(view, list)
        };
        if common.any(|rule| differs(everybodys(rule.source_list_id))) {
            return None;
        }
        let mut concerned = BTreeSet::new();
        for id in &self.seen_classes {
            concerned.insert(*id);
            let before = changes.classes.get(id).and_then(Option::as_ref);
            for class in before.into_iter().chain(view.compiled.classes.get(id)) {
                concerned.extend(view.compiled.peer_classes(class));
            }
        }
        for user in self.seen_users.keys() {
            concerned.extend(classes_of_user(view, *user));
        }
        for node in changes.nodes.keys() {
            concerned.extend(view.compiled.classes_routed_through(*node));
        }
        concerned.extend(&self.compare_all_peers.classes);
        for (prefix, before) in &changes.routes {
            for route in before.iter().chain(view.compiled.routes.get(prefix)) {
                add_classes_of_route(view, route, &mut concerned);
            }
        }
        for list in changes.lists.keys() {
            add_classes_with_list(view, *list, &mut concerned);
        }
        // Whom a list names need not be a peer: SSH rules name others too, and while a node waits for its class, the lists
        // are those of the class that it will have.
        if !self.moved_addresses.is_empty() {
            for list in view.compiled.lists.keys() {
                if self.list_has_moved_address(view, *list) {
                    add_classes_with_list(view, *list, &mut concerned);
                }
            }
        }
        Some(concerned)
    }
}

/// Adds the classes that use a subnet route, that are reached from behind it, or that see who lets it pass.
fn add_classes_of_route(view: &View, route: &Route, concerned: &mut BTreeSet<ClassId>) {
    concerned.extend(view.compiled.classes_with_selectors(&route.users));
    for id in view.compiled.classes_with_selectors(&route.reached) {
        concerned.insert(id);
        let class = view.compiled.classes.get(&id);
        if let Some(class) = class.filter(|class| !class.passes.is_empty()) {
            concerned.extend(view.compiled.peer_classes(class));
        }
    }
}

/// Adds the classes whose filter or SSH rules have a list.
fn add_classes_with_list(view: &View, key: SourceListKey, concerned: &mut BTreeSet<ClassId>) {
    match key.user {
        None => concerned.extend(view.compiled.classes_with_filter_list(key.list)),
        Some(user) => concerned.extend(classes_of_user(view, user)),
    }
    let settings = view.compiled.settings_with_ssh_list(key.list);
    let nodes = settings.flat_map(|settings| view.nodes_with_settings(settings));
    concerned.extend(nodes.filter_map(|node| view.nodes.get(&node).map(|shown| shown.class)));
}
