//! Whose netmap a subnet route is in (policy section 13.2).

use std::collections::BTreeSet;

use bowline_ip_set::IpRange;
use ipnet::IpNet;

use super::{
    class::{ANY_SELECTOR, EXIT_SELECTOR, router_selector},
    output::RouteUsers,
    plan::{AccessPlan, PlannedRule},
};

/// The ids of selectors on the two sides of a subnet route.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteSides {
    /// Those that ordinary rules let reach it.
    reach: BTreeSet<u64>,
    /// Those that are reached from it, and those of chosen routers that may use it themselves.
    reached: BTreeSet<u64>,
}

/// Returns the selectors whose classes a rule connects with a subnet.
///
/// Who reaches the subnet and who is reached from it are kept apart, because only the first overrides a choice of
/// routers. Example: with `group:dev → 10.1.0.0/16` and `10.1.0.0/16 → tag:web`, the route `10.1.2.0/24` has `group:dev`
/// in `reach` and `tag:web` in `reached`.
pub(super) fn route_users(plan: &AccessPlan, route: IpNet) -> RouteUsers {
    let mut sides = plan.any_route_sides.clone();
    for selector in plan.selectors.ranges_overlapping(IpRange::from(route)) {
        let selector = selector as usize;
        for number in &plan.rules_by_destination[selector] {
            sides.add_sources(plan, plan.rule(*number));
        }
        for number in &plan.rules_by_source[selector] {
            sides.add_destinations(plan, plan.rule(*number));
        }
        let id = plan.selectors.ids[selector];
        for via in &plan.vias_by_destination[selector] {
            sides.reached.insert(router_selector(*via, id));
        }
    }
    if sides.reach.contains(&ANY_SELECTOR) {
        sides.reached.clear();
    }
    RouteUsers {
        reach: shorten(sides.reach),
        reached: shorten(sides.reached),
    }
}

/// Returns the sides that every subnet route has: those of rules from or to everything.
pub(super) fn any_route_sides(plan: &AccessPlan) -> RouteSides {
    let mut sides = RouteSides::default();
    for rule in &plan.rules {
        if rule.to_any && rule.via_id == 0 {
            sides.add_sources(plan, rule);
        }
        if rule.from_any {
            sides.add_destinations(plan, rule);
        }
    }
    sides
}

/// Returns a side in ascending order; the selector of every class stands for all others.
fn shorten(side: BTreeSet<u64>) -> Vec<u64> {
    if side.contains(&ANY_SELECTOR) {
        vec![ANY_SELECTOR]
    } else {
        side.into_iter().collect()
    }
}

impl RouteSides {
    fn add_sources(&mut self, plan: &AccessPlan, rule: &PlannedRule) {
        if rule.from_any {
            self.reach.insert(ANY_SELECTOR);
        }
        self.reach.extend(plan.ids_of(&rule.sources));
    }

    fn add_destinations(&mut self, plan: &AccessPlan, rule: &PlannedRule) {
        if rule.via_id != 0 {
            // Only its routers have such a rule, and its destinations are what they route.
            self.reached.insert(rule.via_id);
            return;
        }
        if rule.to_any {
            self.reached.insert(ANY_SELECTOR);
        }
        if rule.rule.covers_internet {
            self.reached.insert(EXIT_SELECTOR);
        }
        self.reached.extend(plan.ids_of(&rule.destinations));
    }
}
