//! Source lists: which addresses stand behind the sources of rules, while nodes come and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{hash, output::ListId};
use crate::{
    internet,
    policy::{Party, Reach, Rule},
    selector::Selector,
};

/// What feeds a list.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceList {
    /// What stands for it on every replica.
    pub(super) id: u64,
    /// Elements that no node brings.
    pub(super) literals: BTreeSet<Arc<str>>,
    /// Whether each subnet route of the tailnet is an element (`*`).
    pub(super) has_routes: bool,
    /// Whether there is one list for each user, of that user's devices only.
    pub(super) per_user: bool,
    /// Whether every device of the user is an element.
    pub(super) all_devices: bool,
    /// Whether nodes with tags only are elements.
    pub(super) tagged_only: bool,
}

impl SourceList {
    /// Returns the list of a rule's sources (policy sections 7.3 and 9).
    pub(super) fn of(rule: &Rule) -> Self {
        let texts = rule.sources.iter().flat_map(|party| {
            let end = "\n".to_owned();
            [party.selector.to_string()]
                .into_iter()
                .chain(party.postures.iter().cloned())
                .chain([end])
        });
        let kind = match rule.reach {
            Reach::Named => "list",
            Reach::Own => "own list",
            Reach::OwnReversed => "own devices",
        };
        let mut list = Self {
            id: hash(kind, texts),
            per_user: rule.reach != Reach::Named,
            ..Self::default()
        };
        if rule.reach == Reach::OwnReversed {
            list.id = hash(kind, ["all"]);
            list.all_devices = true;
            return list;
        }
        let is_any = |party: &Party| party.selector == Selector::Any && party.postures.is_empty();
        if list.per_user {
            list.all_devices = rule.sources.iter().any(is_any);
            return list;
        }
        if rule
            .sources
            .iter()
            .any(|party| party.selector == Selector::Everyone)
        {
            list.literals.insert(Arc::from("*"));
            return list;
        }
        if rule.sources.iter().any(is_any) {
            list.has_routes = true;
            list.literals.extend(internet::ANY.map(Arc::from));
        }
        for party in rule.sources.iter() {
            if let Selector::Range(range) = party.selector {
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

/// The lists of some rules.
#[derive(Clone, Debug, Default)]
pub(super) struct ListPlan {
    pub(super) all: Vec<SourceList>,
    by_id: BTreeMap<u64, u32>,
    parties_of: Vec<Vec<u32>>,
    /// For each party the lists its nodes are in.
    fed_by: Vec<Vec<u32>>,
    /// Lists with every device of a user.
    of_all_devices: Vec<u32>,
    /// Lists that have the tailnet's routes as elements.
    pub(super) with_routes: Vec<u32>,
}

impl ListPlan {
    /// Adds a list, and the parties whose nodes are in it; returns its id.
    pub(super) fn add(&mut self, list: SourceList, parties: &[u32]) -> u64 {
        let id = list.id;
        if !self.by_id.contains_key(&id) {
            let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
            self.by_id.insert(id, number);
            if list.all_devices {
                self.of_all_devices.push(number);
            }
            if list.has_routes {
                self.with_routes.push(number);
            }
            let fed = if list.is_everyone() {
                Vec::new()
            } else {
                parties.to_vec()
            };
            self.parties_of.push(fed);
            self.all.push(list);
        }
        id
    }

    /// Makes the table from parties to lists.
    pub(super) fn index(&mut self, parties: usize) {
        self.fed_by = vec![Vec::new(); parties];
        for (number, parties) in self.parties_of.iter().enumerate() {
            for party in parties {
                self.fed_by[*party as usize].push(u32::try_from(number).unwrap_or(u32::MAX));
            }
        }
    }

    /// Returns the lists that a node is in; `user` is its owner, zero for a tagged node.
    pub(super) fn fed(&self, parties: &[u32], user: u64) -> BTreeSet<ListId> {
        let by_party = parties
            .iter()
            .flat_map(|party| &self.fed_by[*party as usize]);
        let of_devices = self.of_all_devices.iter().filter(|_| user != 0);
        let numbers = by_party
            .chain(of_devices)
            .map(|number| &self.all[*number as usize]);
        numbers
            .filter(|list| !list.per_user || user != 0)
            .filter(|list| !list.tagged_only || user == 0)
            .map(|list| ListId {
                id: list.id,
                user: if list.per_user { user } else { 0 },
            })
            .collect()
    }

    /// Says whether a list has an element whether or not a node brings it.
    pub(super) fn has_literal(&self, list: ListId, element: &Arc<str>) -> bool {
        let list = self
            .by_id
            .get(&list.id)
            .map(|number| &self.all[*number as usize]);
        list.is_some_and(|list| list.literals.contains(element))
    }
}
