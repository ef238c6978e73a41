//! Which classes may use a subnet route (policy reference section 13.2).

use std::collections::BTreeSet;

use bowline_ip_set::IpRange;
use ipnet::IpNet;

use super::{
    class::{ANY, EXIT},
    plan::{Plan, PlannedRule},
};

/// Returns the selectors whose classes a rule connects with a subnet, in either direction, ascending.
pub(super) fn users(plan: &Plan, route: IpNet) -> Vec<u64> {
    let mut users = plan.users_of_any.clone();
    if users.contains(&ANY) {
        return vec![ANY];
    }
    for party in plan.parties.overlapping(IpRange::from(route)) {
        for number in &plan.to[party as usize] {
            add_sources(plan, plan.rule(*number), &mut users);
        }
        for number in &plan.from[party as usize] {
            add_destinations(plan, plan.rule(*number), &mut users);
        }
    }
    if users.contains(&ANY) {
        return vec![ANY];
    }
    users.into_iter().collect()
}

/// Returns the selectors whose classes a rule connects with every subnet: those from or to everything.
pub(super) fn users_of_any(plan: &Plan) -> BTreeSet<u64> {
    let mut users = BTreeSet::new();
    for rule in plan.rules.iter().filter(|rule| rule.via_id == 0) {
        if rule.to_any {
            add_sources(plan, rule, &mut users);
        }
        if rule.from_any {
            add_destinations(plan, rule, &mut users);
        }
    }
    users
}

fn add_sources(plan: &Plan, rule: &PlannedRule, users: &mut BTreeSet<u64>) {
    if rule.from_any {
        users.insert(ANY);
    }
    users.extend(
        rule.sources
            .iter()
            .map(|party| plan.parties.ids[*party as usize]),
    );
}

fn add_destinations(plan: &Plan, rule: &PlannedRule, users: &mut BTreeSet<u64>) {
    if rule.via_id != 0 {
        return;
    }
    if rule.to_any {
        users.insert(ANY);
    }
    if rule.rule.covers_internet {
        users.insert(EXIT);
    }
    users.extend(
        rule.destinations
            .iter()
            .map(|party| plan.parties.ids[*party as usize]),
    );
}
