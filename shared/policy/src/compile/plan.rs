//! A policy's access rules, ready to be applied to nodes: selectors by number, and rules found by selector.
//!
//! Example: the rules `group:dev → tag:web:80` (number 0) and `tag:web → tag:db:5432` (number 1) have three selectors. The
//! plan finds rule 0 from `group:dev` as a source and from `tag:web` as a destination, rule 1 from `tag:web` as a source and
//! from `tag:db` as a destination. A class of nodes with `tag:web` looks at these two rules and at no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    class_filter, hash,
    list::{ListPlan, SourceList},
    output::ClassFilterRule,
    route::{self, RouteSides},
    selector_table::SelectorTable,
};
use crate::{
    internet,
    policy::{AccessRule, DestinationKind, Policy, PosturedSelector},
    selector::Selector,
};

/// A rule with its selectors by number.
#[derive(Clone, Debug)]
pub(crate) struct PlannedRule {
    /// The rule as it was read.
    pub(crate) rule: Arc<AccessRule>,
    /// Sources besides `*`, ascending.
    pub(crate) sources: Arc<[u32]>,
    /// Whether everything is a source.
    pub(crate) from_any: bool,
    /// Destinations besides `*` and the internet.
    pub(crate) destinations: Vec<u32>,
    /// Whether everything is a destination.
    pub(crate) to_any: bool,
    /// Whether the internet is a destination.
    pub(crate) to_internet: bool,
    /// The tags of the routers it goes through.
    pub(super) router_tags: Vec<u32>,
    /// The id of the choice of routers; zero for a rule without `via`.
    pub(crate) via_id: u64,
    /// The id of its source list.
    pub(super) list: u64,
}

/// The access rules of a policy. Rules are known by their number, choices of routers (`via`) by their id.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessPlan {
    pub(crate) selectors: SelectorTable,
    pub(crate) rules: Vec<PlannedRule>,
    /// For each selector the rules it is a source of; rules from everything are left out.
    pub(super) rules_by_source: Vec<Vec<u32>>,
    /// For each selector the rules it is a destination of; rules with `via` are left out.
    pub(super) rules_by_destination: Vec<Vec<u32>>,
    /// For each tag the rules that go through its routers.
    pub(super) rules_by_router_tag: Vec<Vec<u32>>,
    /// For each selector the vias that lead to it.
    pub(super) vias_by_destination: Vec<Vec<u64>>,
    /// Rules through exit nodes: to the internet or a part of it.
    pub(super) internet_rules: Vec<u32>,
    /// Rules to the devices of the same user.
    pub(super) own_device_rules: Vec<u32>,
    /// Whether a rule goes from everything to everything.
    pub(super) is_full_mesh: bool,
    /// Whether a rule lets everything use exit nodes.
    pub(super) any_uses_exits: bool,
    /// The vias that everything may use.
    pub(super) vias_of_any: Vec<u64>,
    /// A rule of each via.
    pub(super) rule_by_via: BTreeMap<u64, u32>,
    /// The vias that go through the routers with each tag.
    pub(super) vias_by_tag: BTreeMap<String, BTreeSet<u64>>,
    pub(super) lists: ListPlan,
    /// The selectors that every subnet route has on its sides.
    pub(super) any_route_sides: RouteSides,
    /// The part of the filter that every node has.
    pub(super) common_filter: Arc<Vec<ClassFilterRule>>,
}

impl AccessPlan {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self::from_rules(&policy.rules, policy)
    }

    /// Returns the plan of some rules, with the groups and postures of a policy.
    pub(super) fn from_rules(rules: &[Arc<AccessRule>], policy: &Policy) -> Self {
        let mut plan = Self::default();
        let mut sources_before = None;
        for rule in rules {
            let planned = plan.plan_rule(rule, &mut sources_before);
            plan.rules.push(planned);
        }
        plan.selectors.index(policy);
        let count = plan.selectors.ids.len();
        plan.rules_by_source = vec![Vec::new(); count];
        plan.rules_by_destination = vec![Vec::new(); count];
        plan.rules_by_router_tag = vec![Vec::new(); count];
        plan.vias_by_destination = vec![Vec::new(); count];
        for index in 0..plan.rules.len() {
            plan.index_rule(index);
        }
        plan.lists.index(count);
        plan.any_route_sides = route::any_route_sides(&plan);
        plan.common_filter = Arc::new(class_filter::compile_common_filter(&plan));
        plan
    }

    /// Numbers the selectors of a rule. `sources_before` are those of the rule before, which often has the same; it is set
    /// to the sources of this rule.
    fn plan_rule(
        &mut self,
        rule: &Arc<AccessRule>,
        sources_before: &mut Option<PlannedSources>,
    ) -> PlannedRule {
        let is_same = |before: &PlannedSources| {
            Arc::ptr_eq(&before.written, &rule.sources)
                && before.destination_kind == rule.destination_kind
        };
        let sources = match sources_before.take() {
            Some(before) if is_same(&before) => before,
            _ => self.plan_sources(rule),
        };
        let is_named = |destination: &&PosturedSelector| {
            !is_any(destination) && destination.selector != Selector::Internet
        };
        let named = rule.destinations.iter().filter(is_named);
        let destinations = named.map(|one| self.selectors.intern(one)).collect();
        let tags = rule.via.iter().map(|tag| Selector::Tag(tag.clone()).into());
        let router_tags: Vec<_> = tags.map(|tag| self.selectors.intern(&tag)).collect();
        let to_internet =
            |destination: &PosturedSelector| destination.selector == Selector::Internet;
        let planned = PlannedRule {
            rule: Arc::clone(rule),
            sources: Arc::clone(&sources.numbers),
            from_any: sources.from_any,
            list: sources.list,
            to_any: rule.destinations.iter().any(is_any),
            to_internet: rule.destinations.iter().any(to_internet),
            via_id: if router_tags.is_empty() {
                0
            } else {
                via_id(rule)
            },
            destinations,
            router_tags,
        };
        *sources_before = Some(sources);
        planned
    }

    fn plan_sources(&mut self, rule: &AccessRule) -> PlannedSources {
        let named = rule.sources.iter().filter(|source| !is_any(source));
        let mut numbers: Vec<_> = named.map(|source| self.selectors.intern(source)).collect();
        numbers.sort_unstable();
        // A range is in the source list as it is written. The other selectors add the addresses of the nodes they select.
        let selects_nodes = |number: &u32| !self.selectors.is_range(*number);
        let node_selectors: Vec<_> = numbers.iter().copied().filter(selects_nodes).collect();
        PlannedSources {
            written: Arc::clone(&rule.sources),
            destination_kind: rule.destination_kind,
            numbers: numbers.into(),
            from_any: rule.sources.iter().any(is_any),
            list: self.lists.add(SourceList::for_rule(rule), &node_selectors),
        }
    }

    /// Enters a rule into the tables that find it.
    fn index_rule(&mut self, index: usize) {
        let rule = &self.rules[index];
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        if rule.rule.destination_kind != DestinationKind::Named {
            self.own_device_rules.push(number);
        }
        let is_public = |number: &u32| match &self.selectors.get(*number).selector {
            Selector::Range(range) => internet::is_public(range),
            _ => false,
        };
        if rule.to_internet || rule.rule.covers_internet || rule.destinations.iter().any(is_public)
        {
            self.internet_rules.push(number);
        }
        if rule.via_id != 0 {
            self.rule_by_via.insert(rule.via_id, number);
            for tag in &rule.router_tags {
                self.rules_by_router_tag[*tag as usize].push(number);
            }
            for tag in &rule.rule.via {
                let vias = self.vias_by_tag.entry(tag.clone()).or_default();
                vias.insert(rule.via_id);
            }
            for selector in &rule.destinations {
                self.vias_by_destination[*selector as usize].push(rule.via_id);
            }
        }
        if rule.from_any && rule.via_id != 0 {
            self.vias_of_any.push(rule.via_id);
        } else if rule.from_any {
            self.is_full_mesh |= rule.to_any;
            self.any_uses_exits |= rule.rule.covers_internet;
        } else {
            for selector in rule.sources.iter() {
                self.rules_by_source[*selector as usize].push(number);
            }
        }
        if rule.via_id == 0 {
            for selector in &rule.destinations {
                let rules = &mut self.rules_by_destination[*selector as usize];
                if rules.last() != Some(&number) {
                    rules.push(number);
                }
            }
        }
    }

    /// Returns how many rules the tables hold: a rule counts once for each of its selectors.
    #[cfg(test)]
    pub(super) fn indexed_rules(&self) -> usize {
        let tables = [
            &self.rules_by_source,
            &self.rules_by_destination,
            &self.rules_by_router_tag,
        ];
        tables.into_iter().flatten().map(Vec::len).sum()
    }

    /// Returns a rule.
    pub(super) fn rule(&self, number: u32) -> &PlannedRule {
        &self.rules[number as usize]
    }

    /// Returns the ids of selectors.
    pub(super) fn ids_of<'s>(&'s self, selectors: &'s [u32]) -> impl Iterator<Item = u64> + 's {
        let ids = &self.selectors.ids;
        selectors.iter().map(|selector| ids[*selector as usize])
    }
}

/// The sources of a rule, numbered.
struct PlannedSources {
    /// The sources as they were read; the rules of one ACL share them.
    written: Arc<BTreeSet<PosturedSelector>>,
    destination_kind: DestinationKind,
    numbers: Arc<[u32]>,
    from_any: bool,
    list: u64,
}

/// Says whether a selector selects everything: rules carry it as a flag.
fn is_any(selector: &PosturedSelector) -> bool {
    selector.selector == Selector::Everyone
        || (selector.selector == Selector::Any && selector.postures.is_empty())
}

/// Returns the id of a rule's choice of routers: the same for rules with the same tags and destinations.
fn via_id(rule: &AccessRule) -> u64 {
    let destinations = rule.destinations.iter();
    let destinations = destinations.map(|destination| destination.selector.to_string());
    // An empty text divides the two lists: no selector is empty.
    let tags = rule.via.iter().cloned().chain([String::new()]);
    hash("via", tags.chain(destinations))
}
