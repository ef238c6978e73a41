//! What differs between two views: enough to tell a session what it lost without the view it had.
//!
//! The past is kept as change sets, not as views: a kept view holds the path from the root of each table to what differs,
//! which takes ten times as much (`keep_views` and `keep_change_sets` of the benchmark).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_proto::policy::v1::{Class, Route, Settings, Via};

use crate::view::{ShownNode, SourceListKey, View};

/// About how many bytes a node or a definition takes, and a small item such as an element of a list.
const NODE: usize = 1024;
const ITEM: usize = 64;

/// The difference between a view and the one before it, or between two views further apart.
///
/// Each entry says how it was: `None` for what was not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Nodes that differ.
    pub nodes: BTreeMap<u64, Option<ShownNode>>,
    /// Classes whose definition differs.
    pub classes: BTreeMap<u64, Option<Arc<Class>>>,
    /// Settings that differ.
    pub settings: BTreeMap<u64, Option<Arc<Settings>>>,
    /// Routes whose users differ, by prefix.
    pub routes: BTreeMap<String, Option<Arc<Route>>>,
    /// Ways through chosen routers that differ.
    pub vias: BTreeMap<u64, Option<Arc<Via>>>,
    /// Source lists that differ, with the elements that came or went.
    pub lists: BTreeMap<SourceListKey, BTreeSet<Arc<str>>>,
    /// Whether the rules every node has differ.
    pub common_filter: bool,
    /// Users that differ.
    pub users: BTreeSet<u64>,
    /// Whether what names are resolved with differs; it is told alone.
    pub dns: bool,
    /// Whether other settings of the tailnet differ.
    pub tailnet: bool,
}

impl ChangeSet {
    /// Says whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Extends the difference by that of a later view: what came first says how it was.
    pub fn extend(&mut self, later: &Self) {
        keep_first(&mut self.nodes, &later.nodes);
        keep_first(&mut self.classes, &later.classes);
        keep_first(&mut self.settings, &later.settings);
        keep_first(&mut self.routes, &later.routes);
        keep_first(&mut self.vias, &later.vias);
        for (list, elements) in &later.lists {
            self.lists
                .entry(*list)
                .or_default()
                .extend(elements.iter().cloned());
        }
        self.common_filter |= later.common_filter;
        self.users.extend(&later.users);
        self.dns |= later.dns;
        self.tailnet |= later.tailnet;
    }

    /// Says whether nothing but nodes, users and what names are resolved with differs.
    #[must_use]
    pub fn is_of_nodes_only(&self) -> bool {
        self.classes.is_empty()
            && self.settings.is_empty()
            && self.routes.is_empty()
            && self.vias.is_empty()
            && self.lists.is_empty()
            && !self.common_filter
            && !self.tailnet
    }

    /// Returns the addresses that stand in filters before or now and not both times: those of nodes that came, went,
    /// may be offered otherwise than before, or have others.
    #[must_use]
    pub fn moved_addresses<'c>(&'c self, view: &'c View) -> BTreeSet<&'c str> {
        fn named(shown: Option<&ShownNode>) -> Option<(&str, &str, bool)> {
            shown.map(|shown| (&*shown.node.ipv4, &*shown.node.ipv6, shown.offered))
        }
        let sides = self
            .nodes
            .iter()
            .map(|(id, before)| (before.as_ref(), view.nodes.get(id)));
        let moved = sides.filter(|(before, now)| named(*before) != named(*now));
        let shown = moved.flat_map(|(before, now)| before.into_iter().chain(now));
        shown.flat_map(ShownNode::addresses).collect()
    }

    /// Returns about how many bytes it keeps alive.
    #[must_use]
    pub fn estimate_bytes(&self) -> usize {
        let node = |shown: &Option<ShownNode>| {
            let soft = shown.as_ref().map_or(0, |shown| {
                shown.soft.hostinfo.len() + shown.soft.endpoints.len() * ITEM
            });
            NODE + soft
        };
        let class = |class: &Option<Arc<Class>>| {
            let numbers = class.as_ref().map_or(0, |class| {
                class.filter.len() + class.sees.len() + class.selectors.len()
            });
            NODE + numbers * ITEM
        };
        let elements = self.lists.values().map(|elements| elements.len() * ITEM);
        let vias = self.vias.len() + self.settings.len();
        let users = self.users.len() + self.routes.len();
        self.nodes.values().map(node).sum::<usize>()
            + self.classes.values().map(class).sum::<usize>()
            + elements.sum::<usize>()
            + self.lists.len() * ITEM
            + vias * NODE
            + users * ITEM
            + NODE
    }

    /// Returns the classes of which some session has to look again, or `None` for all of them.
    #[must_use]
    pub fn affected_classes(&self, view: &View) -> Option<BTreeSet<u64>> {
        let common = view.compiled.common_filter.iter();
        let mut common = common.map(|rule| rule.source_list_id);
        if self.tailnet
            || self.dns
            || self.common_filter
            || common.any(|list| self.lists.contains_key(&(list, 0)))
        {
            return None;
        }
        let mut affected = BTreeSet::new();
        // The classes whose viewers look again, and the users whose devices do: each once, however many nodes differ.
        let mut viewed = BTreeSet::new();
        let mut users = BTreeSet::new();
        for (id, before) in &self.nodes {
            for shown in before.iter().chain(view.nodes.get(id)) {
                viewed.insert(shown.class);
                users.extend(shown.user());
            }
        }
        for user in &self.users {
            viewed.extend(Self::classes_of_user(view, *user));
        }
        for (id, before) in &self.classes {
            affected.insert(*id);
            for class in before.iter().chain(view.compiled.classes.get(id)) {
                affected.extend(view.compiled.peer_classes(class));
            }
        }
        for id in self.settings.keys() {
            for shown in view
                .nodes_with_settings(*id)
                .filter_map(|node| view.nodes.get(&node))
            {
                viewed.insert(shown.class);
                users.extend(shown.user());
            }
        }
        for class in viewed {
            self.add_viewers(view, class, &mut affected);
        }
        for user in users {
            affected.extend(Self::classes_of_user(view, user));
        }
        for (prefix, before) in &self.routes {
            for route in before.iter().chain(view.compiled.routes.get(prefix)) {
                affected.extend(view.compiled.classes_with_selectors(&route.users));
                for id in view.compiled.classes_with_selectors(&route.reached) {
                    affected.insert(id);
                    let class = view.compiled.classes.get(&id);
                    let passing = class.filter(|class| !class.passes.is_empty());
                    affected.extend(
                        passing
                            .into_iter()
                            .flat_map(|class| view.compiled.peer_classes(class)),
                    );
                }
            }
        }
        if !self.vias.is_empty() {
            let uses = |class: &Class| class.vias.iter().any(|way| self.vias.contains_key(way));
            let using = view
                .compiled
                .classes
                .iter()
                .filter(|(_, class)| uses(class));
            affected.extend(using.map(|(id, _)| *id));
        }
        for list in self.lists.keys() {
            Self::add_classes_with_list(view, *list, &mut affected);
        }
        // Whom filters name is seen; SSH rules name others too.
        let moved = self.moved_addresses(view);
        for list in view.compiled.ssh_lists().filter(|_| !moved.is_empty()) {
            let elements = view.compiled.lists.get(&list);
            if elements.is_some_and(|some| moved.iter().any(|address| some.contains(*address))) {
                Self::add_classes_with_list(view, list, &mut affected);
            }
        }
        Some(affected)
    }

    /// Adds a class and the classes that see it, before or now.
    fn add_viewers(&self, view: &View, id: u64, affected: &mut BTreeSet<u64>) {
        affected.insert(id);
        let before = self.classes.get(&id).and_then(Option::as_ref);
        for class in before.into_iter().chain(view.compiled.classes.get(&id)) {
            affected.extend(view.compiled.peer_classes(class));
        }
    }

    /// Returns the classes of a user's devices.
    fn classes_of_user(view: &View, user: u64) -> impl Iterator<Item = u64> {
        let devices = view.devices_of_user(Some(user));
        devices.filter_map(|device| view.nodes.get(&device).map(|shown| shown.class))
    }

    /// Adds the classes whose filter or SSH rules have a list.
    fn add_classes_with_list(
        view: &View,
        (list, user): SourceListKey,
        affected: &mut BTreeSet<u64>,
    ) {
        let class = |node| view.nodes.get(&node).map(|shown| shown.class);
        if user == 0 {
            affected.extend(view.compiled.classes_with_filter_list(list));
        } else {
            affected.extend(view.devices_of_user(Some(user)).filter_map(class));
        }
        let set = view
            .compiled
            .settings_with_ssh_list(list)
            .flat_map(|settings| view.nodes_with_settings(settings));
        affected.extend(set.filter_map(class));
    }
}

fn keep_first<K: Ord + Clone, V: Clone>(kept: &mut BTreeMap<K, V>, later: &BTreeMap<K, V>) {
    for (key, before) in later {
        kept.entry(key.clone()).or_insert_with(|| before.clone());
    }
}
