//! What makes a class, and what the rules mean for its nodes.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use bowline_ip_set::IpRange;
use ipnet::{IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::{
    hash,
    output::{Address, CapGrant, Class, Destination, FilterRule, Pass},
    plan::{Plan, PlannedRule},
};
use crate::{
    internet,
    inventory::{Node, User},
    policy::Reach,
    selector::Selector,
};

/// The selector every class belongs to.
pub(super) const ANY: u64 = 0;
/// The selector of exit nodes.
pub(super) const EXIT: u64 = 1;

/// Returns the selector of routers that a way goes through, that may use it themselves, to what they route.
pub(super) fn held(way: u64, to: u64) -> u64 {
    hash("held", [way.to_be_bytes(), to.to_be_bytes()])
}

/// What the access rules can tell about a node: nodes with the same are one class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    /// The parties it belongs to by who it is or which addresses it has, ascending.
    selected: Vec<u32>,
    /// The ranges that its routes overlap, ascending.
    overlapped: Vec<u32>,
    /// Whether it is an exit node.
    is_exit: bool,
    /// Whether it belongs to a user, where `autogroup:self` matters.
    is_owned: bool,
}

impl ClassKey {
    pub(super) fn new(plan: &Plan, node: &Node, user: Option<&User>) -> Self {
        Self {
            selected: plan.parties.selected(node, user),
            overlapped: plan.parties.overlapped(node),
            is_exit: node.is_exit(),
            is_owned: !plan.own.is_empty() && user.is_some(),
        }
    }

    /// Returns the parties selected by who the node is or which addresses it has.
    pub(super) fn selected(&self) -> &[u32] {
        &self.selected
    }

    /// Returns the class's number: the same on every replica.
    pub(super) fn id(&self, plan: &Plan) -> u64 {
        let id = |party: &u32| plan.parties.ids[*party as usize];
        let mut selected: Vec<_> = self.selected.iter().map(id).collect();
        let mut overlapped: Vec<_> = self.overlapped.iter().map(id).collect();
        selected.sort_unstable();
        overlapped.sort_unstable();
        let flags = u64::from(self.is_exit) | u64::from(self.is_owned) << 1;
        let bytes = |ids: Vec<u64>| {
            ids.into_iter()
                .flat_map(u64::to_be_bytes)
                .collect::<Vec<_>>()
        };
        hash(
            "class",
            [bytes(selected), bytes(overlapped), bytes(vec![flags])],
        )
    }

    /// Returns all parties, ascending.
    fn parties(&self) -> Vec<u32> {
        let mut all: Vec<_> = self
            .selected
            .iter()
            .chain(&self.overlapped)
            .copied()
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn is(&self, party: u32) -> bool {
        self.selected.binary_search(&party).is_ok()
    }

    fn routes(&self, party: u32) -> bool {
        self.overlapped.binary_search(&party).is_ok()
    }

    /// Says whether the class is a router that a rule goes through (policy section 10.1).
    fn is_way_of(&self, rule: &PlannedRule) -> bool {
        rule.via.iter().any(|tag| self.is(*tag))
            && (rule.destinations.iter().any(|party| self.routes(*party))
                || (self.is_exit && rule.to_internet))
    }

    /// Returns what the rules mean for the class.
    pub(super) fn class(&self, plan: &Plan) -> Class {
        let parties = self.parties();
        let mut selectors: Vec<_> = parties
            .iter()
            .map(|party| plan.parties.ids[*party as usize])
            .collect();
        selectors.push(ANY);
        if self.is_exit {
            selectors.push(EXIT);
        }
        let mut class = Class {
            exit_routes: plan.exits_for_any,
            vias: plan.vias_for_any.clone(),
            ..Class::default()
        };
        if plan.full_mesh {
            class.sees.push(ANY);
        }
        self.look_out(plan, &parties, &mut class);
        self.look_in(plan, &parties, &mut class, &mut selectors);
        let sees_own = |number: &u32| {
            let rule = plan.rule(*number);
            rule.from_any || rule.sources.iter().any(|party| self.is(*party))
        };
        class.sees_own = self.is_owned && plan.own.iter().any(sees_own);
        class.filter = self.filter(plan, &parties);
        class.selectors = selectors;
        class.passes.sort_unstable();
        class.passes.dedup();
        for sorted in [&mut class.selectors, &mut class.sees, &mut class.vias] {
            sorted.sort_unstable();
            sorted.dedup();
        }
        class
    }

    /// Returns the rules that name the class as a source; those from everything are not among them.
    pub(super) fn rules_from(&self, plan: &Plan) -> BTreeSet<u32> {
        let parties = self.parties();
        let rules = parties.iter().flat_map(|party| &plan.from[*party as usize]);
        rules.copied().collect()
    }

    /// Adds what the class sees as a source.
    fn look_out(&self, plan: &Plan, parties: &[u32], class: &mut Class) {
        let rules = parties.iter().flat_map(|party| &plan.from[*party as usize]);
        for number in rules.collect::<BTreeSet<_>>() {
            let rule = plan.rule(*number);
            if rule.rule.reach != Reach::Named {
                continue;
            }
            if rule.via_id != 0 {
                class.vias.push(rule.via_id);
                class.sees.push(rule.via_id);
                continue;
            }
            class.exit_routes |= rule.rule.covers_internet;
            if rule.to_any {
                class.sees.push(ANY);
                continue;
            }
            let ids = rule
                .destinations
                .iter()
                .map(|party| plan.parties.ids[*party as usize]);
            class.sees.extend(ids);
            if rule.rule.covers_internet {
                class.sees.push(EXIT);
            }
        }
    }

    /// Adds what the class sees as a destination of rules from everything, and the ways it is a router of.
    fn look_in(&self, plan: &Plan, parties: &[u32], class: &mut Class, selectors: &mut Vec<u64>) {
        let mut to = parties.iter().flat_map(|party| &plan.to[*party as usize]);
        let mut outward = plan.outward.iter().filter(|_| self.is_exit);
        let covers = |number: &&u32| {
            let rule = plan.rule(**number);
            rule.via_id == 0 && rule.rule.covers_internet
        };
        let from_any = |number: &u32| plan.rule(*number).from_any;
        if to.any(from_any) || outward.any(|number| covers(&number) && from_any(number)) {
            class.sees.push(ANY);
        }
        let ways = parties
            .iter()
            .flat_map(|party| &plan.through[*party as usize]);
        for rule in ways
            .map(|number| plan.rule(*number))
            .filter(|rule| self.is_way_of(rule))
        {
            selectors.push(rule.via_id);
            if rule.from_any {
                class.sees.push(ANY);
            }
            self.hold(plan, rule, class, selectors);
        }
    }

    /// Adds what a rule means that goes through the class: as far as the class routes the destinations, its nodes have
    /// the rule as if it were an ordinary one (policy section 13.1).
    fn hold(&self, plan: &Plan, rule: &PlannedRule, class: &mut Class, selectors: &mut Vec<u64>) {
        let is_range =
            |party: &u32| matches!(plan.parties.get(*party).selector, Selector::Range(_));
        let has_subnets = rule.from_any || rule.sources.iter().any(is_range);
        let is_source = |party: &u32| self.is(*party) || self.routes(*party);
        let is_source = rule.from_any || rule.sources.iter().any(is_source);
        let leads_out = self.is_exit && rule.to_internet;
        let routed = rule
            .destinations
            .iter()
            .filter(|party| self.routes(**party));
        let routed = routed.map(|party| plan.parties.ids[*party as usize]);
        for to in routed.chain(leads_out.then_some(EXIT)) {
            if has_subnets {
                let way = rule.via_id;
                class.passes.push(Pass { way, to });
            }
            if is_source {
                class.sees.push(to);
                selectors.push(held(rule.via_id, to));
            }
        }
        class.exit_routes |= leads_out && is_source;
    }

    /// Returns the rules of the filter that are the class's own.
    fn filter(&self, plan: &Plan, parties: &[u32]) -> Vec<FilterRule> {
        let mut numbers: Vec<u32> = Vec::new();
        for party in parties {
            numbers.extend(&plan.to[*party as usize]);
            numbers.extend(&plan.through[*party as usize]);
        }
        if self.is_exit {
            numbers.extend(&plan.outward);
        }
        if self.is_owned {
            numbers.extend(&plan.own);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let mut filter = Filter::default();
        for number in numbers {
            let rule = plan.rule(number);
            filter.add(rule, &self.reached(plan, rule));
        }
        filter.rules
    }

    /// Returns what of a rule's destinations concerns the class (policy sections 8 to 10).
    pub(super) fn reached(&self, plan: &Plan, rule: &PlannedRule) -> Vec<Reached> {
        match rule.rule.reach {
            Reach::Named => {}
            Reach::Own => return vec![Reached::own()],
            Reach::OwnReversed => {
                let is_source = rule.from_any || rule.sources.iter().any(|party| self.is(*party));
                return is_source.then(Reached::own).into_iter().collect();
            }
        }
        let is_way = rule.via_id != 0;
        if is_way && !self.is_way_of(rule) {
            return Vec::new();
        }
        let mut reached = Vec::new();
        if rule.to_internet && self.is_exit {
            reached.extend(internet::TEXTS.map(Reached::outside));
        }
        for party in &rule.destinations {
            match &plan.parties.get(*party).selector {
                Selector::Range(range) => {
                    let own = self.is(*party) && !is_way;
                    let through_exit = self.is_exit && !is_way && internet::is_public(range);
                    if own || self.routes(*party) || through_exit {
                        reached.push(Reached {
                            own: (own && range.low().is_ipv4(), own && range.low().is_ipv6()),
                            text: Some(range.to_string()),
                            routed: self.routes(*party).then_some(*range),
                        });
                    }
                }
                _ if self.is(*party) && !is_way => reached.push(Reached::own()),
                _ => {}
            }
        }
        reached
    }
}

/// A destination that concerns a node.
pub(super) struct Reached {
    /// Whether it has the node's own IPv4 address, and its IPv6 address.
    pub(super) own: (bool, bool),
    /// As it is written; `None` for the node's own addresses.
    text: Option<String>,
    /// What of it is reached through routes of the node.
    routed: Option<IpRange>,
}

impl Reached {
    /// Returns it as it is written; `None` for the node's own addresses.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    fn own() -> Self {
        Self {
            own: (true, true),
            text: None,
            routed: None,
        }
    }

    /// Returns a part of the internet.
    fn outside(text: &str) -> Self {
        Self {
            own: (false, false),
            text: Some(text.to_owned()),
            routed: None,
        }
    }
}

/// Returns the rules that every node has: those to `*`.
pub(super) fn common_filter(plan: &Plan) -> Vec<FilterRule> {
    let mut filter = Filter::default();
    for rule in plan
        .rules
        .iter()
        .filter(|rule| rule.to_any && rule.via_id == 0)
    {
        let everything = Reached {
            own: (true, true),
            text: Some("*".to_owned()),
            routed: None,
        };
        filter.add(rule, &[everything]);
    }
    filter.rules
}

/// A filter being made: rules with the same sources and protocol are one (policy section 7.5).
#[derive(Default)]
struct Filter {
    rules: Vec<FilterRule>,
    known: HashMap<(u64, Option<u8>), usize>,
}

impl Filter {
    fn add(&mut self, rule: &PlannedRule, reached: &[Reached]) {
        if reached.is_empty() {
            return;
        }
        let empty = FilterRule {
            sources: rule.list,
            per_user: rule.rule.reach != Reach::Named,
            destinations: Vec::new(),
            protocol: None,
            grants: Vec::new(),
        };
        for service in &rule.rule.services {
            let protocol = service.protocol;
            let at = *self.known.entry((rule.list, protocol)).or_insert_with(|| {
                self.rules.push(FilterRule {
                    protocol,
                    ..empty.clone()
                });
                self.rules.len() - 1
            });
            for one in reached {
                let address = one.text.clone().map_or(Address::Own, Address::Literal);
                let destination = |ports: &_| Destination {
                    address: address.clone(),
                    ports: *ports,
                };
                self.rules[at]
                    .destinations
                    .extend(service.ports.iter().map(destination));
            }
        }
        // A way through chosen routers carries no capabilities (policy section 10.1).
        if rule.rule.capabilities.is_empty() || rule.via_id != 0 {
            return;
        }
        let grant = |one: &Reached| CapGrant {
            own: one.own,
            routed: one.routed.map_or_else(Vec::new, prefixes),
            capabilities: rule.rule.capabilities.clone(),
        };
        let grants: Vec<_> = reached.iter().map(grant).collect();
        let grants = grants
            .into_iter()
            .filter(|grant| grant.own != (false, false) || !grant.routed.is_empty());
        let grants: Vec<_> = grants.collect();
        if !grants.is_empty() {
            self.rules.push(FilterRule { grants, ..empty });
        }
    }
}

/// Returns a range as prefixes: clients read nothing else as what a capability is granted on.
fn prefixes(range: IpRange) -> Vec<String> {
    let subnets = match (range.low(), range.high()) {
        (IpAddr::V4(low), IpAddr::V4(high)) => Ipv4Subnets::new(low, high, 0).into(),
        (IpAddr::V6(low), IpAddr::V6(high)) => Ipv6Subnets::new(low, high, 0).into(),
        _ => return Vec::new(),
    };
    let subnets: IpSubnets = subnets;
    subnets.map(|prefix| prefix.to_string()).collect()
}
