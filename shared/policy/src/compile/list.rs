//! Source lists: which addresses are behind the sources of rules, while nodes come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{hash, output::ListId};
use crate::{
    internet,
    policy::{AccessRule, DestinationKind, PosturedSelector},
    selector::Selector,
};

/// What is in a list, besides the addresses of nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceList {
    /// Its id: the same on every replica.
    pub(super) id: u64,
    /// Elements that are in it whatever nodes there are.
    pub(super) literals: BTreeSet<Arc<str>>,
    /// Whether each subnet route of the tailnet is an element (`*`).
    pub(super) has_routes: bool,
    /// Whether there is one list for each user, of that user's devices only.
    pub(super) per_user: bool,
    /// Whether every device of the user is an element.
    pub(super) all_devices: bool,
    /// Whether only tagged nodes are elements.
    pub(super) tagged_only: bool,
}

impl SourceList {
    /// Returns the list of a rule's sources (policy sections 7.3 and 9).
    pub(super) fn for_rule(rule: &AccessRule) -> Self {
        let is_any = |source: &PosturedSelector| {
            source.selector == Selector::Any && source.postures.is_empty()
        };
        match rule.destination_kind {
            DestinationKind::Named => Self::of_named_rule(rule, is_any),
            DestinationKind::Own => Self {
                id: hash("own list", source_texts(rule)),
                per_user: true,
                all_devices: rule.sources.iter().any(is_any),
                ..Self::default()
            },
            DestinationKind::OwnReversed => Self {
                id: hash("own devices", ["all"]),
                per_user: true,
                all_devices: true,
                ..Self::default()
            },
        }
    }

    fn of_named_rule(rule: &AccessRule, is_any: impl Fn(&PosturedSelector) -> bool) -> Self {
        let mut list = Self {
            id: hash("list", source_texts(rule)),
            ..Self::default()
        };
        let is_everyone = |source: &PosturedSelector| source.selector == Selector::Everyone;
        if rule.sources.iter().any(is_everyone) {
            list.literals.insert(Arc::from("*"));
            return list;
        }
        if rule.sources.iter().any(is_any) {
            list.has_routes = true;
            list.literals.extend(internet::ANY.map(Arc::from));
        }
        for source in rule.sources.iter() {
            if let Selector::Range(range) = source.selector {
                list.literals.insert(Arc::from(range.to_string()));
            }
        }
        list
    }

    /// Says whether nothing but `*` is in it.
    fn is_everyone(&self) -> bool {
        self.literals.iter().any(|text| &**text == "*")
    }
}

/// Returns what the id of a rule's list is made of: each source with its postures.
fn source_texts(rule: &AccessRule) -> Vec<String> {
    let mut texts = Vec::new();
    for source in rule.sources.iter() {
        texts.push(source.selector.to_string());
        texts.extend(source.postures.iter().cloned());
        texts.push("\n".to_owned());
    }
    texts
}

/// The lists of some rules, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct ListPlan {
    pub(super) all: Vec<SourceList>,
    by_id: BTreeMap<u64, u32>,
    /// For each list the selectors whose nodes are in it.
    selectors_of: Vec<Vec<u32>>,
    /// For each selector the lists its nodes are in.
    lists_by_selector: Vec<Vec<u32>>,
    /// Lists with every device of a user.
    all_device_lists: Vec<u32>,
    /// Lists that have the tailnet's routes as elements.
    pub(super) lists_with_routes: Vec<u32>,
}

impl ListPlan {
    /// Adds a list, and the selectors whose nodes are in it; returns its id.
    pub(super) fn add(&mut self, list: SourceList, selectors: &[u32]) -> u64 {
        let id = list.id;
        if self.by_id.contains_key(&id) {
            return id;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.by_id.insert(id, number);
        if list.all_devices {
            self.all_device_lists.push(number);
        }
        if list.has_routes {
            self.lists_with_routes.push(number);
        }
        let selectors = if list.is_everyone() { &[] } else { selectors };
        self.selectors_of.push(selectors.to_vec());
        self.all.push(list);
        id
    }

    /// Builds the table from selectors to lists.
    pub(super) fn index(&mut self, selector_count: usize) {
        self.lists_by_selector = vec![Vec::new(); selector_count];
        for (number, selectors) in self.selectors_of.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            for selector in selectors {
                self.lists_by_selector[*selector as usize].push(number);
            }
        }
    }

    /// Returns the lists that a node with some selectors is in; `user` is its owner, zero for a tagged node.
    pub(super) fn lists_of_node(&self, selectors: &[u32], user: u64) -> BTreeSet<ListId> {
        let mut lists = BTreeSet::new();
        let mut add = |number: &u32| {
            let list = &self.all[*number as usize];
            let is_excluded = if user == 0 {
                list.per_user
            } else {
                list.tagged_only
            };
            if !is_excluded {
                let user = if list.per_user { user } else { 0 };
                lists.insert(ListId { id: list.id, user });
            }
        };
        for selector in selectors {
            self.lists_by_selector[*selector as usize]
                .iter()
                .for_each(&mut add);
        }
        if user != 0 {
            self.all_device_lists.iter().for_each(&mut add);
        }
        lists
    }

    /// Says whether a list has an element whatever nodes there are.
    pub(super) fn has_literal(&self, list: ListId, element: &Arc<str>) -> bool {
        let number = self.by_id.get(&list.id);
        number.is_some_and(|number| self.all[*number as usize].literals.contains(element))
    }
}
