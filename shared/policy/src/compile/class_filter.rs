//! The packet filter of a class: which rules its nodes have, and what of their destinations.
//!
//! Example: a node with `tag:web` that routes `10.1.0.0/16`, under the rule `group:dev → tag:web, 10.1.7.7, 10.2.0.0/16` for
//! port 22. Its filter has one rule with two destinations: its own addresses, and `10.1.7.7` as it is written. The third
//! destination does not concern it.

use std::{collections::HashMap, net::IpAddr};

use bowline_ip_set::IpRange;
use ipnet::{IpSubnets, Ipv4Subnets, Ipv6Subnets};

use super::{
    class::ClassKey,
    output::{CapabilityGrant, ClassFilterRule, DestinationAddress, FilterDestination},
    plan::{AccessPlan, PlannedRule},
};
use crate::{
    internet,
    policy::{AccessRule, DestinationKind},
    selector::Selector,
};

impl ClassKey {
    /// Returns the filter rules of the class, without those that every node has.
    pub(super) fn compile_filter(
        &self,
        plan: &AccessPlan,
        selectors: &[u32],
    ) -> Vec<ClassFilterRule> {
        let mut numbers: Vec<u32> = Vec::new();
        for selector in selectors {
            numbers.extend(&plan.rules_by_destination[*selector as usize]);
            numbers.extend(&plan.rules_by_router_tag[*selector as usize]);
        }
        if self.is_exit {
            numbers.extend(&plan.internet_rules);
        }
        if self.is_owned {
            numbers.extend(&plan.own_device_rules);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let mut filter = FilterBuilder::default();
        for number in numbers {
            let rule = plan.rule(number);
            filter.add_rule(rule, &self.reached_destinations(plan, rule));
        }
        filter.rules
    }

    /// Returns what of a rule's destinations concerns the class (policy sections 8 to 10).
    pub(super) fn reached_destinations(
        &self,
        plan: &AccessPlan,
        rule: &PlannedRule,
    ) -> Vec<ReachedDestination> {
        match rule.rule.destination_kind {
            DestinationKind::Named => self.reached_named(plan, rule),
            DestinationKind::Own => vec![ReachedDestination::own_addresses()],
            DestinationKind::OwnReversed => {
                let is_source =
                    rule.from_any || rule.sources.iter().any(|one| self.has_selector(*one));
                if is_source {
                    vec![ReachedDestination::own_addresses()]
                } else {
                    Vec::new()
                }
            }
        }
    }

    fn reached_named(&self, plan: &AccessPlan, rule: &PlannedRule) -> Vec<ReachedDestination> {
        let has_via = rule.via_id != 0;
        if has_via && !self.is_router_of(rule) {
            return Vec::new();
        }
        let mut reached = Vec::new();
        if rule.to_internet && self.is_exit {
            reached.extend(internet::TEXTS.map(ReachedDestination::internet_range));
        }
        for destination in &rule.destinations {
            // A way through chosen routers does not end at a node itself.
            let is_own = self.has_selector(*destination) && !has_via;
            match &plan.selectors.get(*destination).selector {
                Selector::Range(range) => {
                    let is_routed = self.routes_range(*destination);
                    let through_exit = self.is_exit && !has_via && internet::is_public(range);
                    if is_own || is_routed || through_exit {
                        reached.push(ReachedDestination {
                            own_ipv4: is_own && range.low().is_ipv4(),
                            own_ipv6: is_own && range.low().is_ipv6(),
                            text: Some(range.to_string()),
                            routed: is_routed.then_some(*range),
                        });
                    }
                }
                _ if is_own => reached.push(ReachedDestination::own_addresses()),
                _ => {}
            }
        }
        reached
    }
}

/// A destination that concerns a node.
pub(super) struct ReachedDestination {
    /// Whether it contains the node's own IPv4 address.
    pub(super) own_ipv4: bool,
    /// Whether it contains the node's own IPv6 address.
    pub(super) own_ipv6: bool,
    /// As it is written; `None` for the node's own addresses.
    text: Option<String>,
    /// What of it is reached through routes of the node.
    routed: Option<IpRange>,
}

impl ReachedDestination {
    /// Returns it as it is written; `None` for the node's own addresses.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Says whether it contains an address of the node itself.
    pub(super) fn has_own_address(&self) -> bool {
        self.own_ipv4 || self.own_ipv6
    }

    fn own_addresses() -> Self {
        Self {
            own_ipv4: true,
            own_ipv6: true,
            text: None,
            routed: None,
        }
    }

    /// Returns everything, as `*` means it.
    fn everything() -> Self {
        Self {
            text: Some("*".to_owned()),
            ..Self::own_addresses()
        }
    }

    /// Returns a part of the internet.
    fn internet_range(text: &str) -> Self {
        Self {
            own_ipv4: false,
            own_ipv6: false,
            text: Some(text.to_owned()),
            routed: None,
        }
    }
}

/// Returns the rules that every node has: those to `*`.
pub(super) fn compile_common_filter(plan: &AccessPlan) -> Vec<ClassFilterRule> {
    let mut filter = FilterBuilder::default();
    for rule in &plan.rules {
        if rule.to_any && rule.via_id == 0 {
            filter.add_rule(rule, &[ReachedDestination::everything()]);
        }
    }
    filter.rules
}

/// A filter in the making. Rules with the same sources and protocol become one (policy section 7.5).
#[derive(Default)]
struct FilterBuilder {
    rules: Vec<ClassFilterRule>,
    /// The place of each rule with ports, by source list and protocol.
    known: HashMap<(u64, Option<u8>), usize>,
}

impl FilterBuilder {
    fn add_rule(&mut self, rule: &PlannedRule, reached: &[ReachedDestination]) {
        if reached.is_empty() {
            return;
        }
        let empty = ClassFilterRule {
            sources: rule.list,
            per_user: rule.rule.destination_kind != DestinationKind::Named,
            destinations: Vec::new(),
            protocol: None,
            grants: Vec::new(),
        };
        for service in &rule.rule.services {
            let protocol = service.protocol;
            let rules = &mut self.rules;
            let at = *self.known.entry((rule.list, protocol)).or_insert_with(|| {
                rules.push(ClassFilterRule {
                    protocol,
                    ..empty.clone()
                });
                rules.len() - 1
            });
            for one in reached {
                let address = match &one.text {
                    Some(text) => DestinationAddress::Literal(text.clone()),
                    None => DestinationAddress::Own,
                };
                for ports in &service.ports {
                    rules[at].destinations.push(FilterDestination {
                        address: address.clone(),
                        ports: *ports,
                    });
                }
            }
        }
        // Capabilities are not granted through chosen routers (policy section 10.1).
        if rule.rule.capabilities.is_empty() || rule.via_id != 0 {
            return;
        }
        let grants = compile_grants(&rule.rule, reached);
        if !grants.is_empty() {
            self.rules.push(ClassFilterRule { grants, ..empty });
        }
    }
}

/// Returns the capabilities of a rule, for each destination that has addresses of the node or behind it.
fn compile_grants(rule: &AccessRule, reached: &[ReachedDestination]) -> Vec<CapabilityGrant> {
    let mut grants = Vec::new();
    for one in reached {
        let routed = one.routed.map_or_else(Vec::new, split_into_prefixes);
        if one.has_own_address() || !routed.is_empty() {
            grants.push(CapabilityGrant {
                own_ipv4: one.own_ipv4,
                own_ipv6: one.own_ipv6,
                routed,
                capabilities: rule.capabilities.clone(),
            });
        }
    }
    grants
}

/// Returns a range as prefixes: clients read a capability's destinations in no other form.
fn split_into_prefixes(range: IpRange) -> Vec<String> {
    let subnets = match (range.low(), range.high()) {
        (IpAddr::V4(low), IpAddr::V4(high)) => Ipv4Subnets::new(low, high, 0).into(),
        (IpAddr::V6(low), IpAddr::V6(high)) => Ipv6Subnets::new(low, high, 0).into(),
        _ => return Vec::new(),
    };
    let subnets: IpSubnets = subnets;
    subnets.map(|prefix| prefix.to_string()).collect()
}
