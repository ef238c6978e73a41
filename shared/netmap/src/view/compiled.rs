//! What the policy means, as the compiler sends it, with the tables that find who sees whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ids::{NodeId, UserId};
use bowline_proto::policy::v1::{
    Class, CompiledUpdate, FilterRule, ListRef, Route, Settings, SourceListChange, Via,
};
use imbl::{OrdMap, OrdSet};

use super::{ClassId, InvertedIndex, PolicyRelays, SettingsId};
use crate::change_set::ChangeSet;

/// Which list of sources: the policy's number of it, and the user whose list it is, `None` for everybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceListKey {
    /// The list's number.
    pub list: u64,
    /// The user.
    pub user: Option<UserId>,
}

/// The elements of a source list, in the order of the wire.
pub type SourceElements = OrdSet<Arc<str>>;

/// The compiled policy of one tailnet. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicy {
    /// The rules every node has.
    pub common_filter: Arc<Vec<FilterRule>>,
    /// Relays of the policy.
    pub relays: Arc<PolicyRelays>,
    /// Class definitions by number.
    pub classes: OrdMap<ClassId, Arc<Class>>,
    /// Settings by number.
    pub settings: OrdMap<SettingsId, Arc<Settings>>,
    /// Source lists.
    pub lists: OrdMap<SourceListKey, SourceElements>,
    /// Who has to do with each subnet route, by prefix.
    pub routes: OrdMap<String, Arc<Route>>,
    /// Vias by number: the routes and exit nodes that a grant leads through routers it names.
    pub vias: OrdMap<u64, Arc<Via>>,
    /// The classes of each selector.
    classes_by_selector: InvertedIndex<u64, ClassId>,
    /// The classes that see each selector.
    classes_by_seen_selector: InvertedIndex<u64, ClassId>,
    /// The classes that use each via route.
    classes_by_via: InvertedIndex<u64, ClassId>,
    /// The vias that lead a route through each node, by the node's number.
    vias_by_router: InvertedIndex<u64, u64>,
    /// The classes whose filter has a source list, by the list's number.
    classes_by_filter_list: InvertedIndex<u64, ClassId>,
    /// The settings whose SSH rules have a source list, by the list's number.
    settings_by_ssh_list: InvertedIndex<u64, SettingsId>,
}

impl CompiledPolicy {
    /// Applies an update whose messages were put together; what differs is noted in `changes`.
    ///
    /// Returns the classes and the settings that the update removes. They stay for the nodes that are still shown
    /// with them: [`CompiledPolicy::remove_class`] and [`CompiledPolicy::remove_settings`] take them out.
    pub fn apply_update(
        &mut self,
        update: CompiledUpdate,
        changes: &mut ChangeSet,
    ) -> RemovedDefinitions {
        if let Some(common) = update.common_filter
            && *self.common_filter != common.rules
        {
            self.common_filter = Arc::new(common.rules);
            changes.common_filter = true;
        }
        if let Some(text) = update.derp_map {
            match PolicyRelays::parse(&text).map(|relays| relays.keep_scores_of(&self.relays)) {
                Ok(relays) if *self.relays == relays => {}
                Ok(relays) => {
                    self.relays = Arc::new(relays);
                    // Every client is told everything again.
                    changes.everything = true;
                }
                // Clients without relays lose each other: those they have stay.
                Err(error) => {
                    tracing::error!(%error, "the relays of the policy can not be read");
                }
            }
        }
        let present = update.classes.iter().map(|class| ClassId(class.id));
        let present = present.collect();
        let removed = update.removed_classes.into_iter().map(ClassId);
        let classes = removed_keys(update.full, removed, self.classes.keys(), &present);
        for class in update.classes {
            self.put_class(ClassId(class.id), Some(class), changes);
        }
        let present = update.settings.iter().map(|set| SettingsId(set.id));
        let present = present.collect();
        let removed = update.removed_settings.into_iter().map(SettingsId);
        let settings = removed_keys(update.full, removed, self.settings.keys(), &present);
        for settings in update.settings {
            self.put_settings(SettingsId(settings.id), Some(settings), changes);
        }
        self.put_routes(update.full, update.routes, &update.removed_routes, changes);
        let present: BTreeSet<_> = update.vias.iter().map(|via| via.id).collect();
        let removed = update.removed_vias.into_iter();
        let gone = removed_keys(update.full, removed, self.vias.keys(), &present);
        for id in gone {
            if let Some(before) = self.vias.remove(&id) {
                self.vias_by_router.remove(via_routers(&before), id);
                changes.vias.entry(id).or_insert(Some(before));
            }
        }
        for via in update.vias {
            let (id, via) = (via.id, Arc::new(via));
            if self.vias.get(&id) != Some(&via) {
                let before = self.vias.insert(id, Arc::clone(&via));
                if let Some(before) = &before {
                    self.vias_by_router.remove(via_routers(before), id);
                }
                self.vias_by_router.insert(via_routers(&via), id);
                changes.vias.entry(id).or_insert(before);
            }
        }
        self.put_lists(update.full, update.source_lists, changes);
        RemovedDefinitions { classes, settings }
    }

    /// Takes a class out, which no node is shown with.
    pub fn remove_class(&mut self, id: ClassId, changes: &mut ChangeSet) {
        self.put_class(id, None, changes);
    }

    /// Takes settings out, which no node is shown with.
    pub fn remove_settings(&mut self, id: SettingsId, changes: &mut ChangeSet) {
        self.put_settings(id, None, changes);
    }

    fn put_class(&mut self, id: ClassId, class: Option<Class>, changes: &mut ChangeSet) {
        let before = self.classes.get(&id).cloned();
        if before.as_deref() == class.as_ref() {
            return;
        }
        if let Some(before) = &before {
            self.classes_by_selector.remove(&before.selectors, id);
            self.classes_by_seen_selector.remove(&before.sees, id);
            self.classes_by_via.remove(&before.vias, id);
            self.classes_by_filter_list.remove(filter_lists(before), id);
        }
        if let Some(class) = &class {
            self.classes_by_selector.insert(&class.selectors, id);
            self.classes_by_seen_selector.insert(&class.sees, id);
            self.classes_by_via.insert(&class.vias, id);
            self.classes_by_filter_list.insert(filter_lists(class), id);
        }
        match class {
            Some(class) => self.classes.insert(id, Arc::new(class)),
            None => self.classes.remove(&id),
        };
        changes.classes.entry(id).or_insert(before);
    }

    fn put_settings(
        &mut self,
        id: SettingsId,
        settings: Option<Settings>,
        changes: &mut ChangeSet,
    ) {
        let before = self.settings.get(&id).cloned();
        if before.as_deref() == settings.as_ref() {
            return;
        }
        if let Some(before) = &before {
            self.settings_by_ssh_list
                .remove(ssh_lists(before).map(|list| &list.id), id);
        }
        if let Some(settings) = &settings {
            self.settings_by_ssh_list
                .insert(ssh_lists(settings).map(|list| &list.id), id);
        }
        match settings {
            Some(settings) => self.settings.insert(id, Arc::new(settings)),
            None => self.settings.remove(&id),
        };
        changes.settings.entry(id).or_insert(before);
    }

    fn put_routes(
        &mut self,
        full: bool,
        routes: Vec<Route>,
        removed: &[String],
        changes: &mut ChangeSet,
    ) {
        let present: BTreeSet<_> = routes.iter().map(|route| route.prefix.clone()).collect();
        let missing = self
            .routes
            .keys()
            .filter(|prefix| full && !present.contains(*prefix));
        let gone: Vec<_> = removed.iter().chain(missing).cloned().collect();
        for prefix in gone {
            if let Some(before) = self.routes.remove(&prefix) {
                changes.routes.entry(prefix).or_insert(Some(before));
            }
        }
        for route in routes {
            let (prefix, route) = (route.prefix.clone(), Arc::new(route));
            if self.routes.get(&prefix) != Some(&route) {
                let before = self.routes.insert(prefix.clone(), route);
                changes.routes.entry(prefix).or_insert(before);
            }
        }
    }

    fn put_lists(&mut self, full: bool, lists: Vec<SourceListChange>, changes: &mut ChangeSet) {
        if full {
            let mut all: BTreeMap<SourceListKey, SourceElements> = BTreeMap::new();
            for list in lists {
                let elements = all.entry(SourceListKey::of_change(&list)).or_default();
                elements.extend(list.added.into_iter().map(Arc::from));
            }
            let all: OrdMap<_, _> = all.into();
            let none = SourceElements::new();
            for key in self.lists.keys().chain(all.keys()) {
                let before = self.lists.get(key).unwrap_or(&none);
                let now = all.get(key).unwrap_or(&none);
                if before != now {
                    let differing = before.clone().symmetric_difference(now.clone());
                    changes.lists.entry(*key).or_default().extend(differing);
                }
            }
            self.lists = all;
            return;
        }
        for list in lists {
            let key = SourceListKey::of_change(&list);
            let elements = self.lists.entry(key).or_default();
            let differing = changes.lists.entry(key).or_default();
            for gone in list.removed {
                elements.remove(&*gone);
                differing.insert(Arc::from(gone));
            }
            for came in list.added {
                let came: Arc<str> = Arc::from(came);
                differing.insert(Arc::clone(&came));
                elements.insert(came);
            }
            if elements.is_empty() {
                self.lists.remove(&key);
            }
        }
    }

    /// Returns the classes that a class sees or that see it: visibility is symmetric.
    #[must_use]
    pub fn peer_classes(&self, class: &Class) -> BTreeSet<ClassId> {
        let seen = class.sees.iter();
        let seen = seen.flat_map(|selector| self.classes_by_selector.values_of(selector));
        let seeing = class.selectors.iter();
        let seeing = seeing.flat_map(|selector| self.classes_by_seen_selector.values_of(selector));
        seen.chain(seeing).collect()
    }

    /// Returns the classes that belong to one of some selectors.
    pub fn classes_with_selectors(&self, selectors: &[u64]) -> impl Iterator<Item = ClassId> {
        let selectors = selectors.iter();
        selectors.flat_map(|selector| self.classes_by_selector.values_of(selector))
    }

    /// Returns the classes that use a via route.
    pub fn classes_with_via(&self, via: u64) -> impl Iterator<Item = ClassId> {
        self.classes_by_via.values_of(&via)
    }

    /// Returns the classes of which a via leads a route through a node, whether they see it or not: while the node waits for
    /// its class, it is shown with one that may be no peer of theirs.
    pub fn classes_routed_through(&self, node: NodeId) -> impl Iterator<Item = ClassId> {
        let vias = self.vias_by_router.values_of(&node.get());
        vias.flat_map(|via| self.classes_by_via.values_of(&via))
    }

    /// Returns the classes whose filter has a source list.
    pub fn classes_with_filter_list(&self, list: u64) -> impl Iterator<Item = ClassId> {
        self.classes_by_filter_list.values_of(&list)
    }

    /// Returns the settings whose SSH rules have a source list.
    pub fn settings_with_ssh_list(&self, list: u64) -> impl Iterator<Item = SettingsId> {
        self.settings_by_ssh_list.values_of(&list)
    }
}

impl SourceListKey {
    fn of_change(change: &SourceListChange) -> Self {
        Self {
            list: change.id,
            user: UserId::try_from(change.user_id).ok(),
        }
    }
}

impl From<&ListRef> for SourceListKey {
    fn from(list: &ListRef) -> Self {
        Self {
            list: list.id,
            user: UserId::try_from(list.user_id).ok(),
        }
    }
}

/// What an update removes, and what stays as long as nodes are shown with it.
#[derive(Debug)]
pub struct RemovedDefinitions {
    /// Numbers of classes.
    pub classes: Vec<ClassId>,
    /// Numbers of settings.
    pub settings: Vec<SettingsId>,
}

/// Says whether nodes of the two classes are peers by their classes.
#[must_use]
pub fn see_each_other(left: &Class, right: &Class) -> bool {
    have_common_element(&left.sees, &right.selectors)
        || have_common_element(&right.sees, &left.selectors)
}

/// Says whether two ascending lists have an element in common.
#[must_use]
pub fn have_common_element(left: &[u64], right: &[u64]) -> bool {
    let (short, long) = if left.len() < right.len() {
        (left, right)
    } else {
        (right, left)
    };
    short
        .iter()
        .any(|wanted| long.binary_search(wanted).is_ok())
}

/// Returns the source lists of a settings' SSH rules.
pub fn ssh_source_lists(settings: &Settings) -> impl Iterator<Item = SourceListKey> {
    ssh_lists(settings).map(SourceListKey::from)
}

fn ssh_lists(settings: &Settings) -> impl Iterator<Item = &ListRef> {
    let rules = settings.ssh.iter();
    rules.flat_map(|rule| rule.principals.iter().chain(&rule.recorders))
}

fn via_routers(via: &Via) -> impl Iterator<Item = &u64> {
    via.routes.iter().flat_map(|route| &route.node_ids)
}

fn filter_lists(class: &Class) -> impl Iterator<Item = &u64> {
    class.filter.iter().map(|rule| &rule.source_list_id)
}

/// Returns what an update removes: what it names, or in a full one whatever it does not have.
fn removed_keys<'k, K: Ord + Copy + 'k>(
    full: bool,
    removed: impl Iterator<Item = K>,
    known: impl Iterator<Item = &'k K>,
    present: &BTreeSet<K>,
) -> Vec<K> {
    let missing = known.filter(|id| full && !present.contains(id)).copied();
    missing.chain(removed).collect()
}
