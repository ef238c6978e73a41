//! Which nodes are the routers of a grant with `via` (policy section 13.4).

use std::collections::{BTreeMap, BTreeSet};

use bowline_ip_set::IpRange;
use ipnet::IpNet;

use super::{output::Via, plan::PlannedRule};
use crate::{inventory::PolicyNode, policy::PosturedSelector, selector::Selector};

/// The nodes that route something, by tag.
#[derive(Debug, Default)]
pub(super) struct TaggedRouters(BTreeMap<String, BTreeSet<u64>>);

impl TaggedRouters {
    /// Adds a node, if it routes something.
    pub(super) fn insert(&mut self, node: &PolicyNode) {
        if node.usable_routes.is_empty() {
            return;
        }
        for tag in &node.tags {
            self.0.entry(tag.clone()).or_default().insert(node.id);
        }
    }

    /// Removes a node.
    pub(super) fn remove(&mut self, node: &PolicyNode) {
        for tag in &node.tags {
            if let Some(nodes) = self.0.get_mut(tag) {
                nodes.remove(&node.id);
                if nodes.is_empty() {
                    self.0.remove(tag);
                }
            }
        }
    }

    /// Returns the routers of a rule with `via`, for each route that the rule's destinations overlap; the lowest number
    /// first.
    pub(super) fn find_routers(
        &self,
        rule: &PlannedRule,
        nodes: &BTreeMap<u64, PolicyNode>,
    ) -> Via {
        let tags = rule.rule.via.iter();
        let chosen = tags.filter_map(|tag| self.0.get(tag)).flatten();
        let mut via = Via::default();
        for id in chosen.collect::<BTreeSet<_>>() {
            let Some(node) = nodes.get(id) else {
                continue;
            };
            for route in node.subnet_routes() {
                if overlaps_destinations(rule, *route) {
                    via.routes.entry(*route).or_default().push(node.id);
                }
            }
            if rule.to_internet && node.is_exit() {
                via.exits.push(node.id);
            }
        }
        via
    }
}

fn overlaps_destinations(rule: &PlannedRule, route: IpNet) -> bool {
    let route = IpRange::from(route);
    let overlaps = |destination: &PosturedSelector| match destination.selector {
        Selector::Range(range) => range.overlaps(&route),
        _ => false,
    };
    rule.rule.destinations.iter().any(overlaps)
}
