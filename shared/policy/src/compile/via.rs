//! Ways through chosen routers: which nodes they are (policy section 13.4).

use std::collections::{BTreeMap, BTreeSet};

use bowline_ip_set::IpRange;
use ipnet::IpNet;

use super::{output::Via, plan::PlannedRule};
use crate::{inventory::Node, policy::Party, selector::Selector};

/// The nodes that route something, by tag.
#[derive(Debug, Default)]
pub(super) struct TaggedRouters(BTreeMap<String, BTreeSet<u64>>);

impl TaggedRouters {
    /// Adds a node.
    pub(super) fn insert(&mut self, node: &Node) {
        for tag in node.tags.iter().filter(|_| !node.usable_routes.is_empty()) {
            self.0.entry(tag.clone()).or_default().insert(node.id);
        }
    }

    /// Takes a node out.
    pub(super) fn remove(&mut self, node: &Node) {
        for tag in &node.tags {
            if let Some(nodes) = self.0.get_mut(tag) {
                nodes.remove(&node.id);
                if nodes.is_empty() {
                    self.0.remove(tag);
                }
            }
        }
    }

    /// Returns the way of a rule with `via`: its routers, the lowest number first.
    pub(super) fn way(&self, rule: &PlannedRule, nodes: &BTreeMap<u64, Node>) -> Via {
        let chosen = rule.rule.via.iter().filter_map(|tag| self.0.get(tag));
        let chosen: BTreeSet<_> = chosen.flatten().copied().collect();
        let mut way = Via::default();
        for node in chosen.iter().filter_map(|id| nodes.get(id)) {
            for route in node.subnet_routes().filter(|route| concerns(rule, **route)) {
                way.routes.entry(*route).or_default().push(node.id);
            }
            if rule.to_internet && node.is_exit() {
                way.exits.push(node.id);
            }
        }
        way
    }
}

fn concerns(rule: &PlannedRule, route: IpNet) -> bool {
    let route = IpRange::from(route);
    let overlaps = |party: &Party| match party.selector {
        Selector::Range(range) => range.overlaps(&route),
        _ => false,
    };
    rule.rule.destinations.iter().any(overlaps)
}
