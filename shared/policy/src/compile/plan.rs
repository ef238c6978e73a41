//! A policy's access rules, ready to be applied to nodes: parties instead of names, rules found by party.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    class, hash,
    list::{ListPlan, SourceList},
    output::FilterRule,
    party::Parties,
    route,
};
use crate::{
    internet,
    policy::{Party, Policy, Reach, Rule},
    selector::Selector,
};

/// A rule by parties.
#[derive(Clone, Debug)]
pub(super) struct PlannedRule {
    /// The rule as it was read.
    pub(super) rule: Rule,
    /// Sources besides `*`.
    pub(super) sources: Vec<u32>,
    /// Whether everything is a source.
    pub(super) from_any: bool,
    /// Destinations that are parties.
    pub(super) destinations: Vec<u32>,
    /// Whether everything is a destination.
    pub(super) to_any: bool,
    /// Whether the internet is a destination.
    pub(super) to_internet: bool,
    /// The tags of routers it goes through.
    pub(super) via: Vec<u32>,
    /// What stands for that way; zero without one.
    pub(super) via_id: u64,
    /// Who may send, by source list.
    pub(super) list: u64,
}

/// The access rules of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) parties: Parties,
    pub(super) rules: Vec<PlannedRule>,
    /// For each party the rules it is a source of; rules from everything are not among them.
    pub(super) from: Vec<Vec<u32>>,
    /// For each party the rules it is a destination of.
    pub(super) to: Vec<Vec<u32>>,
    /// For each tag the rules that go through its routers.
    pub(super) through: Vec<Vec<u32>>,
    /// Rules through exit nodes: to the internet or a part of it.
    pub(super) outward: Vec<u32>,
    /// Rules to the devices of the same user.
    pub(super) own: Vec<u32>,
    /// Whether a rule goes from everything to everything.
    pub(super) full_mesh: bool,
    /// Whether a rule lets everything use exit nodes.
    pub(super) exits_for_any: bool,
    /// Ways through chosen routers that everything may use.
    pub(super) vias_for_any: Vec<u64>,
    /// The rules of each way through chosen routers.
    pub(super) vias: BTreeMap<u64, u32>,
    pub(super) lists: ListPlan,
    /// The selectors whose classes may use every subnet route.
    pub(super) users_of_any: BTreeSet<u64>,
    /// The part of the filter that every node has.
    pub(super) common_filter: Arc<Vec<FilterRule>>,
}

impl Plan {
    pub(super) fn new(policy: &Policy) -> Self {
        let mut plan = Self::default();
        for rule in &policy.rules {
            let planned = plan.planned(rule);
            plan.rules.push(planned);
        }
        plan.parties.index(policy);
        let parties = plan.parties.ids.len();
        plan.from = vec![Vec::new(); parties];
        plan.to = vec![Vec::new(); parties];
        plan.through = vec![Vec::new(); parties];
        for index in 0..plan.rules.len() {
            plan.file(index);
        }
        plan.lists.index(parties);
        plan.users_of_any = route::users_of_any(&plan);
        plan.common_filter = Arc::new(class::common_filter(&plan));
        plan
    }

    fn planned(&mut self, rule: &Rule) -> PlannedRule {
        let mut intern = |party: &Party| self.parties.intern(party);
        let is_any = |party: &Party| {
            party.selector == Selector::Everyone
                || (party.selector == Selector::Any && party.postures.is_empty())
        };
        let mut sources: Vec<_> = rule
            .sources
            .iter()
            .filter(|party| !is_any(party))
            .map(&mut intern)
            .collect();
        sources.sort_unstable();
        let named = rule.destinations.iter();
        let named = named.filter(|party| !is_any(party) && party.selector != Selector::Internet);
        let destinations = named.map(&mut intern).collect();
        let via: Vec<_> = rule
            .via
            .iter()
            .map(|tag| intern(&Selector::Tag(tag.clone()).into()))
            .collect();
        let list = SourceList::of(rule);
        // Addresses are in a list as they are written, whoever has them.
        let is_identity =
            |party: &u32| !matches!(self.parties.get(*party).selector, Selector::Range(_));
        let feeding: Vec<_> = sources.iter().copied().filter(is_identity).collect();
        PlannedRule {
            from_any: rule.sources.iter().any(is_any),
            to_any: rule.destinations.iter().any(is_any),
            to_internet: rule
                .destinations
                .iter()
                .any(|party| party.selector == Selector::Internet),
            via_id: if via.is_empty() { 0 } else { via_id(rule) },
            list: self.lists.add(list, &feeding),
            rule: rule.clone(),
            sources,
            destinations,
            via,
        }
    }

    /// Enters a rule into the tables.
    fn file(&mut self, index: usize) {
        let rule = &self.rules[index];
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let is_public = |party: &u32| match &self.parties.get(*party).selector {
            Selector::Range(range) => internet::is_public(range),
            _ => false,
        };
        if rule.rule.reach != Reach::Named {
            self.own.push(number);
        }
        if rule.to_internet || rule.rule.covers_internet || rule.destinations.iter().any(is_public)
        {
            self.outward.push(number);
        }
        if rule.via_id != 0 {
            self.vias.insert(rule.via_id, number);
            for tag in &rule.via {
                self.through[*tag as usize].push(number);
            }
        }
        if rule.from_any && rule.via_id != 0 {
            self.vias_for_any.push(rule.via_id);
        } else if rule.from_any {
            self.full_mesh |= rule.to_any;
            self.exits_for_any |= rule.rule.covers_internet;
        } else {
            for party in &rule.sources {
                self.from[*party as usize].push(number);
            }
        }
        if rule.via_id == 0 {
            for party in &rule.destinations {
                let rules = &mut self.to[*party as usize];
                if rules.last() != Some(&number) {
                    rules.push(number);
                }
            }
        }
    }

    /// Returns a rule.
    pub(super) fn rule(&self, number: u32) -> &PlannedRule {
        &self.rules[number as usize]
    }
}

/// Returns what stands for the way of a rule through chosen routers.
fn via_id(rule: &Rule) -> u64 {
    let destinations = rule
        .destinations
        .iter()
        .map(|party| party.selector.to_string());
    hash("via", rule.via.iter().cloned().chain(destinations))
}
