//! Which nodes look again.

use std::collections::BTreeSet;

use bowline_ids::UserId;
use bowline_proto::policy::v1::Route;

use super::{Difference, classes_of_user};
use crate::view::{ClassId, ShownNode, SourceListKey, View};

/// Nodes of one class that belong to one user, or have tags: they look again together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewerGroup {
    /// Their class.
    pub class: ClassId,
    /// Their user; `None` with tags.
    pub user: Option<UserId>,
}

impl ViewerGroup {
    /// Returns the group of a node.
    #[must_use]
    pub fn of(shown: &ShownNode) -> Self {
        Self {
            class: shown.class,
            user: shown.user(),
        }
    }
}

/// The nodes that a difference concerns: whole classes, and groups of other classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConcernedNodes {
    /// Classes of which all nodes look again.
    pub classes: BTreeSet<ClassId>,
    /// Groups that look again, those of these classes among them or not.
    pub groups: BTreeSet<ViewerGroup>,
}

impl ConcernedNodes {
    /// Says whether a group looks again.
    #[must_use]
    pub fn contains(&self, group: &ViewerGroup) -> bool {
        self.classes.contains(&group.class) || self.groups.contains(group)
    }

    fn add_devices(&mut self, view: &View, user: UserId) {
        let user_and_class = |class| ViewerGroup {
            class,
            user: Some(user),
        };
        self.groups
            .extend(classes_of_user(view, user).map(user_and_class));
    }
}

impl Difference {
    /// Returns the nodes that have to look again, or `None` for all of them.
    #[must_use]
    pub fn concerned_nodes(&self, view: &View) -> Option<ConcernedNodes> {
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
        let mut concerned = ConcernedNodes {
            classes: self.changed_classes.clone(),
            ..ConcernedNodes::default()
        };
        for id in self.seen_classes.union(&self.changed_classes) {
            let before = changes.classes.get(id).and_then(Option::as_ref);
            for class in before.into_iter().chain(view.compiled.classes.get(id)) {
                concerned.classes.extend(view.compiled.peer_classes(class));
            }
        }
        for user in self.seen_users.keys().chain(&changes.users) {
            concerned.add_devices(view, *user);
        }
        for (id, before) in &changes.nodes {
            let itself = before.iter().chain(view.nodes.get(id));
            concerned.groups.extend(itself.map(ViewerGroup::of));
            let routed = view.compiled.classes_routed_through(*id);
            concerned.classes.extend(routed);
        }
        let comparing = &self.compare_all_peers.classes;
        concerned.classes.extend(comparing);
        for (prefix, before) in &changes.routes {
            for route in before.iter().chain(view.compiled.routes.get(prefix)) {
                add_classes_of_route(view, route, &mut concerned.classes);
            }
        }
        for list in changes.lists.keys() {
            add_nodes_with_list(view, *list, &mut concerned);
        }
        // Whom a list names need not be a peer: SSH rules name others too, and while a node waits for its class, the lists
        // are those of the class that it will have.
        if !self.moved_addresses.is_empty() {
            for list in view.compiled.lists.keys() {
                if self.list_has_moved_address(view, *list) {
                    add_nodes_with_list(view, *list, &mut concerned);
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

/// Adds the nodes whose filter or SSH rules have a list.
fn add_nodes_with_list(view: &View, key: SourceListKey, concerned: &mut ConcernedNodes) {
    match key.user {
        None => {
            let classes = view.compiled.classes_with_filter_list(key.list);
            concerned.classes.extend(classes);
        }
        Some(user) => concerned.add_devices(view, user),
    }
    let settings = view.compiled.settings_with_ssh_list(key.list);
    let nodes = settings.flat_map(|settings| view.nodes_with_settings(settings));
    let shown = nodes.filter_map(|node| view.nodes.get(&node));
    concerned.groups.extend(shown.map(ViewerGroup::of));
}
