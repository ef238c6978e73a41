//! Which classes have to do with a subnet route (policy section 13.2).

use std::collections::BTreeSet;

use bowline_ip_set::IpRange;
use ipnet::IpNet;

use super::{
    class::{ANY, EXIT, held},
    output::RouteUsers,
    plan::{Plan, PlannedRule},
};

/// Selectors on the two sides of a subnet route.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteSides {
    /// Those that ordinary rules let reach it.
    reach: BTreeSet<u64>,
    /// Those that are reached from it, and those of chosen routers that may be its users.
    reached: BTreeSet<u64>,
}

/// Returns the selectors whose classes a rule connects with a subnet.
///
/// Who may reach it and who is reached from it are kept apart: only the first overrides a choice of routers.
pub(super) fn users(plan: &Plan, route: IpNet) -> RouteUsers {
    let mut sides = plan.users_of_any.clone();
    for party in plan.parties.overlapping(IpRange::from(route)) {
        for number in &plan.to[party as usize] {
            sides.add_sources(plan, plan.rule(*number));
        }
        for number in &plan.from[party as usize] {
            sides.add_destinations(plan, plan.rule(*number));
        }
        let selector = plan.parties.ids[party as usize];
        let ways = plan.ways_to[party as usize].iter();
        sides.reached.extend(ways.map(|way| held(*way, selector)));
    }
    let short = |side: BTreeSet<u64>| {
        if side.contains(&ANY) {
            vec![ANY]
        } else {
            side.into_iter().collect()
        }
    };
    if sides.reach.contains(&ANY) {
        sides.reached.clear();
    }
    RouteUsers {
        reach: short(sides.reach),
        reached: short(sides.reached),
    }
}

/// Returns the selectors whose classes a rule connects with every subnet: those from or to everything.
pub(super) fn users_of_any(plan: &Plan) -> RouteSides {
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

impl RouteSides {
    fn add_sources(&mut self, plan: &Plan, rule: &PlannedRule) {
        if rule.from_any {
            self.reach.insert(ANY);
        }
        let sources = rule.sources.iter();
        self.reach
            .extend(sources.map(|party| plan.parties.ids[*party as usize]));
    }

    fn add_destinations(&mut self, plan: &Plan, rule: &PlannedRule) {
        if rule.via_id != 0 {
            // Nobody but its routers has such a rule, and they have what they route as its destination.
            self.reached.insert(rule.via_id);
            return;
        }
        if rule.to_any {
            self.reached.insert(ANY);
        }
        if rule.rule.covers_internet {
            self.reached.insert(EXIT);
        }
        let destinations = rule.destinations.iter();
        self.reached
            .extend(destinations.map(|party| plan.parties.ids[*party as usize]));
    }
}
