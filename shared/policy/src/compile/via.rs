//! Ways through chosen routers: which nodes they are (policy reference section 13.4).

use std::collections::{BTreeMap, BTreeSet};

use bowline_ip_set::IpRange;
use ipnet::IpNet;

use super::{output::Via, plan::PlannedRule};
use crate::{inventory::Node, policy::Party, selector::Selector};

/// Returns the routers of a rule with `via` among the nodes that offer routes, the lowest number first.
pub(super) fn way(
    rule: &PlannedRule,
    nodes: &BTreeMap<u64, Node>,
    routers: &BTreeMap<IpNet, BTreeSet<u64>>,
    exits: &BTreeSet<u64>,
) -> Via {
    let is_chosen = |id: &&u64| {
        let node = nodes.get(id);
        node.is_some_and(|node| node.tags.iter().any(|tag| rule.rule.via.contains(tag)))
    };
    let mut way = Via::default();
    for (route, nodes) in routers {
        let chosen: Vec<_> = nodes.iter().filter(is_chosen).copied().collect();
        if !chosen.is_empty() && concerns(rule, *route) {
            way.routes.insert(*route, chosen);
        }
    }
    if rule.to_internet {
        way.exits = exits.iter().filter(is_chosen).copied().collect();
    }
    way
}

fn concerns(rule: &PlannedRule, route: IpNet) -> bool {
    let route = IpRange::from(route);
    let overlaps = |party: &Party| match party.selector {
        Selector::Range(range) => range.overlaps(&route),
        _ => false,
    };
    rule.rule.destinations.iter().any(overlaps)
}
