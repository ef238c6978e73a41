//! What the policy means, as the compiler sends it, with the tables that find who sees whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_control_wire::{DerpHomeParams, DerpMap, DerpRegion};
use bowline_proto::policy::v1::{
    Class, CompiledUpdate, FilterRule, Route, Settings, SourceListChange, Via,
};
use imbl::{OrdMap, OrdSet};
use serde::Deserialize;

use crate::change_set::ChangeSet;

/// Relays besides or instead of the server's own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PolicyRelays {
    /// What weighs in the choice of a home, in place of what the server says.
    #[serde(rename = "HomeParams")]
    home_params: Option<DerpHomeParams>,
    /// Whether the server's own are left out.
    #[serde(rename = "omitDefaultRegions")]
    omit_default_regions: bool,
    /// Regions by number; `None` leaves one of the server's out.
    #[serde(rename = "Regions")]
    regions: BTreeMap<u32, Option<DerpRegion>>,
}

impl PolicyRelays {
    /// Reads what the compiler sends; an empty text is none.
    fn parse(text: &str) -> serde_json::Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
    }

    /// Returns the relays as clients have to be told them that know others: weights that are not said stay.
    fn keep_scores_of(mut self, before: &Self) -> Self {
        if before.home_params.is_some() {
            self.home_params.get_or_insert_default();
        }
        self
    }

    /// Returns the map clients are told, given the server's own.
    #[must_use]
    pub fn merge_into(&self, own: &DerpMap) -> DerpMap {
        let mut map = own.clone();
        if self.omit_default_regions {
            map.regions.clear();
        }
        match &self.home_params {
            Some(params) if params.region_score.is_empty() => {
                map.home_params.get_or_insert_default();
            }
            Some(params) => map.home_params = Some(params.clone()),
            None => {}
        }
        for (id, region) in &self.regions {
            match region {
                Some(region) => map.regions.insert(*id, region.clone()),
                None => map.regions.remove(id),
            };
        }
        map
    }
}

/// A source list's number and the user it is of, zero for none.
pub type SourceListKey = (u64, u64);
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
    pub classes: OrdMap<u64, Arc<Class>>,
    /// Settings by number.
    pub settings: OrdMap<u64, Arc<Settings>>,
    /// Source lists.
    pub lists: OrdMap<SourceListKey, SourceElements>,
    /// Who has to do with each subnet route, by prefix.
    pub routes: OrdMap<String, Arc<Route>>,
    /// Ways through chosen routers by number.
    pub vias: OrdMap<u64, Arc<Via>>,
    /// The classes of each selector.
    selector_classes: OrdMap<u64, OrdSet<u64>>,
    /// The classes that see each selector.
    seeing_classes: OrdMap<u64, OrdSet<u64>>,
    /// The classes whose filter has a source list, by the list's number.
    filter_list_classes: OrdMap<u64, OrdSet<u64>>,
    /// The settings whose SSH rules have a source list, by the list's number.
    ssh_list_settings: OrdMap<u64, OrdSet<u64>>,
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
                    changes.tailnet = true;
                }
                // Clients without relays lose each other: those they have stay.
                Err(error) => {
                    tracing::error!(%error, "the relays of the policy can not be read");
                }
            }
        }
        let present: BTreeSet<_> = update.classes.iter().map(|class| class.id).collect();
        let classes = removed_keys(
            update.full,
            &update.removed_classes,
            self.classes.keys(),
            &present,
        );
        for class in update.classes {
            self.put_class(class.id, Some(class), changes);
        }
        let present: BTreeSet<_> = update.settings.iter().map(|settings| settings.id).collect();
        let settings = removed_keys(
            update.full,
            &update.removed_settings,
            self.settings.keys(),
            &present,
        );
        for settings in update.settings {
            self.put_settings(settings.id, Some(settings), changes);
        }
        self.put_routes(update.full, update.routes, &update.removed_routes, changes);
        let present: BTreeSet<_> = update.vias.iter().map(|way| way.id).collect();
        let gone = removed_keys(
            update.full,
            &update.removed_vias,
            self.vias.keys(),
            &present,
        );
        for id in gone {
            if let Some(before) = self.vias.remove(&id) {
                changes.vias.entry(id).or_insert(Some(before));
            }
        }
        for way in update.vias {
            let (id, way) = (way.id, Arc::new(way));
            if self.vias.get(&id) != Some(&way) {
                let before = self.vias.insert(id, way);
                changes.vias.entry(id).or_insert(before);
            }
        }
        self.put_lists(update.full, update.source_lists, changes);
        RemovedDefinitions { classes, settings }
    }

    /// Takes a class out, which no node is shown with.
    pub fn remove_class(&mut self, id: u64, changes: &mut ChangeSet) {
        self.put_class(id, None, changes);
    }

    /// Takes settings out, which no node is shown with.
    pub fn remove_settings(&mut self, id: u64, changes: &mut ChangeSet) {
        self.put_settings(id, None, changes);
    }

    fn put_class(&mut self, id: u64, class: Option<Class>, changes: &mut ChangeSet) {
        let before = self.classes.get(&id).cloned();
        if before.as_deref() == class.as_ref() {
            return;
        }
        if let Some(before) = &before {
            drop_from_index(&mut self.selector_classes, &before.selectors, id);
            drop_from_index(&mut self.seeing_classes, &before.sees, id);
            drop_from_index(&mut self.filter_list_classes, &filter_lists(before), id);
        }
        if let Some(class) = &class {
            add_to_index(&mut self.selector_classes, &class.selectors, id);
            add_to_index(&mut self.seeing_classes, &class.sees, id);
            add_to_index(&mut self.filter_list_classes, &filter_lists(class), id);
        }
        match class {
            Some(class) => self.classes.insert(id, Arc::new(class)),
            None => self.classes.remove(&id),
        };
        changes.classes.entry(id).or_insert(before);
    }

    fn put_settings(&mut self, id: u64, settings: Option<Settings>, changes: &mut ChangeSet) {
        let before = self.settings.get(&id).cloned();
        if before.as_deref() == settings.as_ref() {
            return;
        }
        if let Some(before) = &before {
            drop_from_index(
                &mut self.ssh_list_settings,
                &list_numbers(&ssh_source_lists(before)),
                id,
            );
        }
        if let Some(settings) = &settings {
            add_to_index(
                &mut self.ssh_list_settings,
                &list_numbers(&ssh_source_lists(settings)),
                id,
            );
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
                let elements = all.entry((list.id, list.user_id)).or_default();
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
            let key = (list.id, list.user_id);
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
    pub fn peer_classes(&self, class: &Class) -> BTreeSet<u64> {
        let seen = class
            .sees
            .iter()
            .filter_map(|selector| self.selector_classes.get(selector));
        let seeing = class
            .selectors
            .iter()
            .filter_map(|selector| self.seeing_classes.get(selector));
        seen.chain(seeing).flatten().copied().collect()
    }

    /// Returns the classes that belong to one of some selectors.
    pub fn classes_with_selectors(&self, selectors: &[u64]) -> impl Iterator<Item = u64> {
        let found = selectors
            .iter()
            .filter_map(|selector| self.selector_classes.get(selector));
        found.flatten().copied()
    }

    /// Returns the classes whose filter has a source list.
    pub fn classes_with_filter_list(&self, list: u64) -> impl Iterator<Item = u64> {
        self.filter_list_classes
            .get(&list)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Returns the source lists that SSH rules have.
    pub fn ssh_lists(&self) -> impl Iterator<Item = SourceListKey> {
        let of_list = |list: &u64| self.lists.range((*list, 0)..=(*list, u64::MAX));
        let lists = self.ssh_list_settings.keys().flat_map(of_list);
        lists.map(|(key, _)| *key)
    }

    /// Returns the settings whose SSH rules have a source list.
    pub fn settings_with_ssh_list(&self, list: u64) -> impl Iterator<Item = u64> {
        self.ssh_list_settings
            .get(&list)
            .into_iter()
            .flatten()
            .copied()
    }
}

/// What an update removes, and what stays as long as nodes are shown with it.
#[derive(Debug)]
pub struct RemovedDefinitions {
    /// Numbers of classes.
    pub classes: Vec<u64>,
    /// Numbers of settings.
    pub settings: Vec<u64>,
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
pub fn ssh_source_lists(settings: &Settings) -> Vec<SourceListKey> {
    let rules = settings.ssh.iter();
    let lists = rules.flat_map(|rule| rule.principals.iter().chain(&rule.recorders));
    lists.map(|list| (list.id, list.user_id)).collect()
}

fn list_numbers(lists: &[SourceListKey]) -> Vec<u64> {
    lists.iter().map(|(id, _)| *id).collect()
}

fn filter_lists(class: &Class) -> Vec<u64> {
    class
        .filter
        .iter()
        .map(|rule| rule.source_list_id)
        .collect()
}

fn add_to_index(table: &mut OrdMap<u64, OrdSet<u64>>, keys: &[u64], id: u64) {
    for key in keys {
        table.entry(*key).or_default().insert(id);
    }
}

fn drop_from_index(table: &mut OrdMap<u64, OrdSet<u64>>, keys: &[u64], id: u64) {
    for key in keys {
        if let Some(ids) = table.get_mut(key) {
            ids.remove(&id);
            if ids.is_empty() {
                table.remove(key);
            }
        }
    }
}

/// Returns what an update removes: what it names, or in a full one whatever it does not have.
fn removed_keys<'k>(
    full: bool,
    removed: &[u64],
    known: impl Iterator<Item = &'k u64>,
    present: &BTreeSet<u64>,
) -> Vec<u64> {
    let missing = known.filter(|id| full && !present.contains(id)).copied();
    missing.chain(removed.iter().copied()).collect()
}

#[cfg(test)]
mod tests;
