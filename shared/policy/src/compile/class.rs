//! Which nodes are one class, and whom a class sees.
//!
//! Rules can not tell two nodes apart when the same selectors select them, their routes overlap the same ranges, and both
//! or neither are exit nodes. Such nodes are one class. A class *belongs to* selectors and *sees* selectors: two nodes are
//! peers when the class of one sees a selector that the class of the other belongs to.
//!
//! Example, with the rules `group:dev → tag:web:80` and `tag:web → 10.1.0.0/16:22`:
//!
//! | node | belongs to | sees |
//! |---|---|---|
//! | a developer's laptop | `group:dev` | `tag:web` |
//! | a web server | `tag:web` | `10.1.0.0/16` |
//! | a router of `10.1.2.0/24` | `10.1.0.0/16` | nothing |
//!
//! The router belongs to `10.1.0.0/16` because its route overlaps it. The web server sees the router, so the two are
//! peers; the laptop and the router are none.
//!
//! A rule with `via` has a selector of its own, its id: sources see it, and its routers belong to it. So sources see the
//! routers, whatever the destinations are.

use std::collections::BTreeSet;

use super::{
    hash,
    output::{Class, ViaTarget},
    plan::{AccessPlan, PlannedRule},
};
use crate::{
    inventory::{PolicyNode, PolicyUser},
    policy::DestinationKind,
};

/// The id of the selector that every class belongs to.
pub(super) const ANY_SELECTOR: u64 = 0;
/// The id of the selector of exit nodes.
pub(super) const EXIT_SELECTOR: u64 = 1;

/// Returns the id of a selector for routers: those that a rule with `via` goes through to this destination, and that are
/// sources of the rule too. Such a router reaches the destination through the other routers.
pub(super) fn router_selector(via: u64, destination: u64) -> u64 {
    // The word is part of the id. It stays, because replicas of two releases make the same ids.
    hash("held", [via.to_be_bytes(), destination.to_be_bytes()])
}

/// What the access rules can tell about a node: nodes with the same key are one class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    /// The selectors that select it by who it is or which addresses it has, ascending.
    selectors: Vec<u32>,
    /// The ranges that its routes overlap, ascending.
    routed_ranges: Vec<u32>,
    /// Whether it is an exit node.
    pub(super) is_exit: bool,
    /// Whether it belongs to a user; always `false` when no rule says `autogroup:self`.
    pub(super) is_owned: bool,
}

impl ClassKey {
    pub(super) fn new(plan: &AccessPlan, node: &PolicyNode, user: Option<&PolicyUser>) -> Self {
        Self {
            selectors: plan.selectors.selectors_of_node(node, user),
            routed_ranges: plan.selectors.ranges_routed_by(node),
            is_exit: node.is_exit(),
            is_owned: !plan.own_device_rules.is_empty() && user.is_some(),
        }
    }

    /// Returns the selectors that select the node by who it is or which addresses it has.
    pub(super) fn selectors(&self) -> &[u32] {
        &self.selectors
    }

    /// Returns the id of the class: the same on every replica.
    pub(super) fn id(&self, plan: &AccessPlan) -> u64 {
        let sorted_bytes = |selectors: &[u32]| {
            let mut ids: Vec<_> = plan.ids_of(selectors).collect();
            ids.sort_unstable();
            ids.into_iter().flat_map(u64::to_be_bytes).collect()
        };
        let flags = u64::from(self.is_exit) | u64::from(self.is_owned) << 1;
        let parts: [Vec<u8>; 3] = [
            sorted_bytes(&self.selectors),
            sorted_bytes(&self.routed_ranges),
            flags.to_be_bytes().to_vec(),
        ];
        hash("class", parts)
    }

    /// Returns the selectors that select the node or are routed by it, ascending.
    pub(super) fn all_selectors(&self) -> Vec<u32> {
        let mut all = [&*self.selectors, &*self.routed_ranges].concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn has_selector(&self, selector: u32) -> bool {
        self.selectors.binary_search(&selector).is_ok()
    }

    pub(super) fn routes_range(&self, range: u32) -> bool {
        self.routed_ranges.binary_search(&range).is_ok()
    }

    /// Says whether the class is a router that a rule goes through (policy section 10.1).
    pub(super) fn is_router_of(&self, rule: &PlannedRule) -> bool {
        let has_tag = rule.router_tags.iter().any(|tag| self.has_selector(*tag));
        has_tag
            && (rule.destinations.iter().any(|one| self.routes_range(*one))
                || (self.is_exit && rule.to_internet))
    }

    /// Returns what the rules mean for the class.
    pub(super) fn compile_class(&self, plan: &AccessPlan) -> Class {
        let selectors = self.all_selectors();
        let mut class = Class {
            selectors: plan.ids_of(&selectors).collect(),
            exit_routes: plan.any_uses_exits,
            vias: plan.vias_of_any.clone(),
            ..Class::default()
        };
        class.selectors.push(ANY_SELECTOR);
        if self.is_exit {
            class.selectors.push(EXIT_SELECTOR);
        }
        if plan.is_full_mesh {
            class.sees.push(ANY_SELECTOR);
        }
        add_as_source(plan, &selectors, &mut class);
        self.add_as_destination(plan, &selectors, &mut class);
        self.add_as_router(plan, &selectors, &mut class);
        let reaches_own_devices = |number: &u32| {
            let rule = plan.rule(*number);
            rule.from_any || rule.sources.iter().any(|source| self.has_selector(*source))
        };
        class.sees_own = self.is_owned && plan.own_device_rules.iter().any(reaches_own_devices);
        class.filter = self.compile_filter(plan, &selectors);
        class.via_targets.sort_unstable();
        class.via_targets.dedup();
        for sorted in [&mut class.selectors, &mut class.sees, &mut class.vias] {
            sorted.sort_unstable();
            sorted.dedup();
        }
        class
    }

    /// Returns the rules that name the class as a source; those from everything are left out.
    pub(super) fn rules_naming_source(&self, plan: &AccessPlan) -> BTreeSet<u32> {
        find_rules_from(plan, &self.all_selectors())
    }

    /// Adds what the class sees because it is a destination of rules from everything. Other rules need nothing here:
    /// their sources see the class.
    fn add_as_destination(&self, plan: &AccessPlan, selectors: &[u32], class: &mut Class) {
        let is_named_by_any = selectors.iter().any(|selector| {
            let mut rules = plan.rules_by_destination[*selector as usize].iter();
            rules.any(|number| plan.rule(*number).from_any)
        });
        let is_exit_for_any = self.is_exit
            && plan.internet_rules.iter().any(|number| {
                let rule = plan.rule(*number);
                rule.from_any && rule.via_id == 0 && rule.rule.covers_internet
            });
        if is_named_by_any || is_exit_for_any {
            class.sees.push(ANY_SELECTOR);
        }
    }

    /// Adds what it means that the class is a router that rules go through.
    fn add_as_router(&self, plan: &AccessPlan, selectors: &[u32], class: &mut Class) {
        for tag in selectors {
            for number in &plan.rules_by_router_tag[*tag as usize] {
                let rule = plan.rule(*number);
                if !self.is_router_of(rule) {
                    continue;
                }
                class.selectors.push(rule.via_id);
                if rule.from_any {
                    class.sees.push(ANY_SELECTOR);
                }
                self.add_routed_destinations(plan, rule, class);
            }
        }
    }

    /// Adds what the class routes of a rule with `via`: its nodes have the rule as if it were an ordinary one to these
    /// destinations (policy section 13.1).
    ///
    /// Example: `10.9.0.0/16 → 10.1.0.0/16 via tag:r`, and a node with `tag:r` that routes both. It is a source too, so it
    /// sees the other nodes that route `10.1.0.0/16`.
    fn add_routed_destinations(&self, plan: &AccessPlan, rule: &PlannedRule, class: &mut Class) {
        let has_subnets =
            rule.from_any || rule.sources.iter().any(|one| plan.selectors.is_range(*one));
        let is_source = rule.from_any
            || rule
                .sources
                .iter()
                .any(|source| self.has_selector(*source) || self.routes_range(*source));
        let leads_out = self.is_exit && rule.to_internet;
        let mut routed = rule.destinations.clone();
        routed.retain(|destination| self.routes_range(*destination));
        let mut destinations: Vec<_> = plan.ids_of(&routed).collect();
        if leads_out {
            destinations.push(EXIT_SELECTOR);
        }
        for to in destinations {
            if has_subnets {
                let via = rule.via_id;
                class.via_targets.push(ViaTarget { via, to });
            }
            if is_source {
                class.sees.push(to);
                class.selectors.push(router_selector(rule.via_id, to));
            }
        }
        class.exit_routes |= leads_out && is_source;
    }
}

fn find_rules_from(plan: &AccessPlan, selectors: &[u32]) -> BTreeSet<u32> {
    let mut rules = BTreeSet::new();
    for selector in selectors {
        rules.extend(&plan.rules_by_source[*selector as usize]);
    }
    rules
}

/// Adds what the class sees because it is a source of rules.
fn add_as_source(plan: &AccessPlan, selectors: &[u32], class: &mut Class) {
    for number in find_rules_from(plan, selectors) {
        let rule = plan.rule(number);
        if rule.rule.destination_kind != DestinationKind::Named {
            continue;
        }
        if rule.via_id != 0 {
            class.vias.push(rule.via_id);
            class.sees.push(rule.via_id);
            continue;
        }
        class.exit_routes |= rule.rule.covers_internet;
        if rule.to_any {
            class.sees.push(ANY_SELECTOR);
            continue;
        }
        class.sees.extend(plan.ids_of(&rule.destinations));
        if rule.rule.covers_internet {
            class.sees.push(EXIT_SELECTOR);
        }
    }
}
