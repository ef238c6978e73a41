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
    route::{self, RouteSides},
};
use crate::{
    internet,
    policy::{Party, Policy, Reach, Rule},
    selector::Selector,
};

/// A rule by parties.
#[derive(Clone, Debug)]
pub(crate) struct PlannedRule {
    /// The rule as it was read.
    pub(crate) rule: Arc<Rule>,
    /// Sources besides `*`, ascending.
    pub(crate) sources: Arc<[u32]>,
    /// Whether everything is a source.
    pub(crate) from_any: bool,
    /// Destinations that are parties.
    pub(crate) destinations: Vec<u32>,
    /// Whether everything is a destination.
    pub(crate) to_any: bool,
    /// Whether the internet is a destination.
    pub(crate) to_internet: bool,
    /// The tags of routers it goes through.
    pub(super) via: Vec<u32>,
    /// What stands for that way; zero without one.
    pub(crate) via_id: u64,
    /// Who may send, by source list.
    pub(super) list: u64,
}

/// The access rules of a policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) parties: Parties,
    pub(crate) rules: Vec<PlannedRule>,
    /// For each party the rules it is a source of; rules from everything are not among them.
    pub(super) from: Vec<Vec<u32>>,
    /// For each party the rules it is a destination of.
    pub(super) to: Vec<Vec<u32>>,
    /// For each tag the rules that go through its routers.
    pub(super) through: Vec<Vec<u32>>,
    /// For each party the ways through chosen routers that lead to it.
    pub(super) ways_to: Vec<Vec<u64>>,
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
    /// The ways that go through the routers with each tag.
    pub(super) ways_of: BTreeMap<String, BTreeSet<u64>>,
    pub(super) lists: ListPlan,
    /// The selectors whose classes have to do with every subnet route.
    pub(super) users_of_any: RouteSides,
    /// The part of the filter that every node has.
    pub(super) common_filter: Arc<Vec<FilterRule>>,
}

impl Plan {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self::of(&policy.rules, policy)
    }

    /// Returns the plan of some rules, with the groups and postures of a policy.
    pub(super) fn of(rules: &[Arc<Rule>], policy: &Policy) -> Self {
        let mut plan = Self::default();
        let mut sources = None;
        for rule in rules {
            let planned = plan.planned(rule, &mut sources);
            plan.rules.push(planned);
        }
        plan.parties.index(policy);
        let parties = plan.parties.ids.len();
        plan.from = vec![Vec::new(); parties];
        plan.to = vec![Vec::new(); parties];
        plan.through = vec![Vec::new(); parties];
        plan.ways_to = vec![Vec::new(); parties];
        for index in 0..plan.rules.len() {
            plan.file(index);
        }
        plan.lists.index(parties);
        plan.users_of_any = route::users_of_any(&plan);
        plan.common_filter = Arc::new(class::common_filter(&plan));
        plan
    }

    /// Returns a rule by parties; `last` are the sources of the rule before, which often has the same.
    fn planned(&mut self, rule: &Arc<Rule>, last: &mut Option<PlannedSources>) -> PlannedRule {
        let same = last
            .take()
            .filter(|last| Arc::ptr_eq(&last.written, &rule.sources) && last.reach == rule.reach);
        let sources = same.unwrap_or_else(|| self.sources(rule));
        let PlannedSources {
            ref parties,
            from_any,
            list,
            ..
        } = *last.insert(sources);
        let mut intern = |party: &Party| self.parties.intern(party);
        let named = rule.destinations.iter();
        let named = named.filter(|party| !is_any(party) && party.selector != Selector::Internet);
        let destinations = named.map(&mut intern).collect();
        let via: Vec<_> = rule
            .via
            .iter()
            .map(|tag| intern(&Selector::Tag(tag.clone()).into()))
            .collect();
        PlannedRule {
            sources: Arc::clone(parties),
            from_any,
            list,
            to_any: rule.destinations.iter().any(is_any),
            to_internet: rule
                .destinations
                .iter()
                .any(|party| party.selector == Selector::Internet),
            via_id: if via.is_empty() { 0 } else { via_id(rule) },
            rule: Arc::clone(rule),
            destinations,
            via,
        }
    }

    fn sources(&mut self, rule: &Rule) -> PlannedSources {
        let named = rule.sources.iter().filter(|party| !is_any(party));
        let mut parties: Vec<_> = named.map(|party| self.parties.intern(party)).collect();
        parties.sort_unstable();
        // Addresses are in a list as they are written, whoever has them.
        let is_identity =
            |party: &u32| !matches!(self.parties.get(*party).selector, Selector::Range(_));
        let feeding: Vec<_> = parties.iter().copied().filter(is_identity).collect();
        PlannedSources {
            written: Arc::clone(&rule.sources),
            reach: rule.reach,
            parties: parties.into(),
            from_any: rule.sources.iter().any(is_any),
            list: self.lists.add(SourceList::of(rule), &feeding),
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
            for tag in &rule.rule.via {
                let ways = self.ways_of.entry(tag.clone()).or_default();
                ways.insert(rule.via_id);
            }
            for party in &rule.destinations {
                self.ways_to[*party as usize].push(rule.via_id);
            }
        }
        if rule.from_any && rule.via_id != 0 {
            self.vias_for_any.push(rule.via_id);
        } else if rule.from_any {
            self.full_mesh |= rule.to_any;
            self.exits_for_any |= rule.rule.covers_internet;
        } else {
            for party in rule.sources.iter() {
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

    /// Returns how many rules are found by their parties, one for each party and side.
    #[cfg(test)]
    pub(super) fn filed_rules(&self) -> usize {
        let tables = [&self.from, &self.to, &self.through];
        tables.into_iter().flatten().map(Vec::len).sum()
    }

    /// Returns a rule.
    pub(super) fn rule(&self, number: u32) -> &PlannedRule {
        &self.rules[number as usize]
    }
}

/// The sources of a rule by parties.
struct PlannedSources {
    written: Arc<BTreeSet<Party>>,
    reach: Reach,
    parties: Arc<[u32]>,
    from_any: bool,
    list: u64,
}

/// Says whether a party is everything: rules have it as a flag.
fn is_any(party: &Party) -> bool {
    party.selector == Selector::Everyone
        || (party.selector == Selector::Any && party.postures.is_empty())
}

/// Returns what stands for the way of a rule through chosen routers.
fn via_id(rule: &Rule) -> u64 {
    let destinations = rule
        .destinations
        .iter()
        .map(|party| party.selector.to_string());
    let tags = rule.via.iter().cloned();
    // No text is empty but the one between the two lists.
    hash("via", tags.chain([String::new()]).chain(destinations))
}
