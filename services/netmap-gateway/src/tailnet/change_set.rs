//! What differs between two views: enough to tell a session what it lost without the view it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_proto::policy::v1::{Class, Route, Settings, Via};

use super::{
    compiled::ListKey,
    view::{Shown, View},
};

/// The difference between a view and the one before it, or between two views further apart.
///
/// Each entry says how it was: `None` for what was not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Nodes that differ.
    pub nodes: BTreeMap<u64, Option<Shown>>,
    /// Classes whose definition differs.
    pub classes: BTreeMap<u64, Option<Arc<Class>>>,
    /// Settings that differ.
    pub settings: BTreeMap<u64, Option<Arc<Settings>>>,
    /// Routes whose users differ, by prefix.
    pub routes: BTreeMap<String, Option<Arc<Route>>>,
    /// Ways through chosen routers that differ.
    pub vias: BTreeMap<u64, Option<Arc<Via>>>,
    /// Source lists that differ, with the elements that came or went.
    pub lists: BTreeMap<ListKey, BTreeSet<Arc<str>>>,
    /// Whether the rules every node has differ.
    pub common_filter: bool,
    /// Users that differ.
    pub users: BTreeSet<u64>,
    /// Whether settings of the tailnet differ.
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
        self.tailnet |= later.tailnet;
    }

    /// Says whether nothing but nodes differs.
    #[must_use]
    pub fn is_of_nodes_only(&self) -> bool {
        self.classes.is_empty()
            && self.settings.is_empty()
            && self.routes.is_empty()
            && self.vias.is_empty()
            && self.lists.is_empty()
            && !self.common_filter
            && self.users.is_empty()
            && !self.tailnet
    }

    /// Returns the classes of which some session has to look again, or `None` for all of them.
    #[must_use]
    pub fn affected(&self, view: &View) -> Option<BTreeSet<u64>> {
        let common = view.compiled.common_filter.iter();
        let mut common = common.map(|rule| rule.source_list_id);
        if self.tailnet
            || !self.users.is_empty()
            || self.common_filter
            || common.any(|list| self.lists.contains_key(&(list, 0)))
        {
            return None;
        }
        let mut affected = BTreeSet::new();
        for (id, before) in &self.nodes {
            for shown in before.iter().chain(view.nodes.get(id)) {
                self.add_viewers(view, shown, &mut affected);
            }
        }
        for (id, before) in &self.classes {
            affected.insert(*id);
            for class in before.iter().chain(view.compiled.classes.get(id)) {
                affected.extend(view.compiled.peer_classes(class));
            }
        }
        for id in self.settings.keys() {
            for shown in view.set(*id).filter_map(|node| view.nodes.get(&node)) {
                self.add_viewers(view, shown, &mut affected);
            }
        }
        for (prefix, before) in &self.routes {
            for route in before.iter().chain(view.compiled.routes.get(prefix)) {
                affected.extend(view.compiled.belonging(&route.users));
                for id in view.compiled.belonging(&route.reached) {
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
            Self::add_list(view, *list, &mut affected);
        }
        Some(affected)
    }

    /// Adds the classes of those who see a node, its own among them.
    fn add_viewers(&self, view: &View, shown: &Shown, affected: &mut BTreeSet<u64>) {
        affected.insert(shown.class);
        let before = self.classes.get(&shown.class).and_then(Option::as_ref);
        for class in before
            .into_iter()
            .chain(view.compiled.classes.get(&shown.class))
        {
            affected.extend(view.compiled.peer_classes(class));
        }
        let devices = view
            .devices(shown.user())
            .filter_map(|device| view.nodes.get(&device));
        affected.extend(devices.map(|device| device.class));
    }

    /// Adds the classes whose filter or SSH rules have a list.
    fn add_list(view: &View, (list, user): ListKey, affected: &mut BTreeSet<u64>) {
        let class = |node| view.nodes.get(&node).map(|shown| shown.class);
        if user == 0 {
            affected.extend(view.compiled.filtering(list));
        } else {
            affected.extend(view.devices(Some(user)).filter_map(class));
        }
        let set = view
            .compiled
            .admitting(list)
            .flat_map(|settings| view.set(settings));
        affected.extend(set.filter_map(class));
    }
}

fn keep_first<K: Ord + Clone, V: Clone>(kept: &mut BTreeMap<K, V>, later: &BTreeMap<K, V>) {
    for (key, before) in later {
        kept.entry(key.clone()).or_insert_with(|| before.clone());
    }
}
