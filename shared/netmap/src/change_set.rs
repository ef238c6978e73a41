//! What differs between two views: enough to tell a session what it lost without the view it had.
//!
//! The past is kept as change sets, not as views: a kept view holds the path from the root of each table to what differs,
//! which takes ten times as much (`keep_views` and `keep_change_sets` of the benchmark).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ids::{NodeId, UserId};
use bowline_proto::policy::v1::{Class, Route, Settings, Via};

use crate::view::{ClassId, SettingsId, ShownNode, SourceListKey};

/// About how many bytes a node or a definition takes, and a small item such as an element of a list.
const NODE: usize = 1024;
const ITEM: usize = 64;

/// The difference between a view and the one before it, or between two views further apart.
///
/// Each entry says how it was: `None` for what was not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Nodes that differ.
    pub nodes: BTreeMap<NodeId, Option<ShownNode>>,
    /// Classes whose definition differs.
    pub classes: BTreeMap<ClassId, Option<Arc<Class>>>,
    /// Settings that differ.
    pub settings: BTreeMap<SettingsId, Option<Arc<Settings>>>,
    /// Routes whose users differ, by prefix.
    pub routes: BTreeMap<String, Option<Arc<Route>>>,
    /// Vias that differ.
    pub vias: BTreeMap<u64, Option<Arc<Via>>>,
    /// Source lists that differ, with the elements that came or went.
    pub lists: BTreeMap<SourceListKey, BTreeSet<Arc<str>>>,
    /// Whether the rules every node has differ.
    pub common_filter: bool,
    /// Users that differ.
    pub users: BTreeSet<UserId>,
    /// Whether what names are resolved with differs; it is told alone.
    pub dns: bool,
    /// Whether tailnet lock differs; it is told alone.
    pub lock: bool,
    /// Whether something differs that each client is told everything for: settings of the tailnet, or its relays.
    pub everything: bool,
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
        self.lock |= later.lock;
        self.everything |= later.everything;
    }

    /// Says whether nothing but nodes, users, tailnet lock and what names are resolved with differs.
    #[must_use]
    pub fn is_of_nodes_only(&self) -> bool {
        self.classes.is_empty()
            && self.settings.is_empty()
            && self.routes.is_empty()
            && self.vias.is_empty()
            && self.lists.is_empty()
            && !self.common_filter
            && !self.everything
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
}

fn keep_first<K: Ord + Clone, V: Clone>(kept: &mut BTreeMap<K, V>, later: &BTreeMap<K, V>) {
    for (key, before) in later {
        kept.entry(key.clone()).or_insert_with(|| before.clone());
    }
}
