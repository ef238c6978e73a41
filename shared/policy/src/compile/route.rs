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
    let mut users = BTreeSet::new();
    // Everything is a source or a destination of these, the subnet among it.
    for rule in &plan.rules {
        if rule.to_any && rule.via_id == 0 {
            add_sources(plan, rule, &mut users);
        }
        if rule.from_any && rule.via_id == 0 {
            add_destinations(plan, rule, &mut users);
        }
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
