//! Which rules name a node as a source, and which name it as a destination.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    class::ClassKey, class_filter::ReachedDestination, compiler::Compiler, plan::AccessPlan,
};
use crate::{inventory::PolicyNode, policy::DestinationKind};

/// The rules that concern a class of nodes, by number.
#[derive(Clone)]
pub(super) struct ClassAccess {
    /// Those that name it as a source.
    pub(super) from: BTreeSet<u32>,
    /// Those that name it as a destination, each with the ranges that the class routes; none when the rule is about the
    /// nodes' own addresses. Rules to own devices are left out.
    pub(super) to: BTreeMap<u32, Vec<String>>,
}

impl ClassAccess {
    /// Returns the rules of a plan that concern a node.
    pub(super) fn new(compiler: &Compiler, plan: &AccessPlan, node: &PolicyNode) -> Self {
        let key = ClassKey::new(plan, node, compiler.owner_of(node));
        let mut access = Self {
            from: key.rules_naming_source(plan),
            to: BTreeMap::new(),
        };
        for (number, rule) in (0..).zip(&plan.rules) {
            if rule.from_any {
                access.from.insert(number);
            }
            if rule.rule.destination_kind != DestinationKind::Named {
                continue;
            }
            let reached = key.reached_destinations(plan, rule);
            if rule.to_any && rule.via_id == 0 {
                access.to.insert(number, Vec::new());
            } else if !reached.is_empty() {
                access.to.insert(number, routed_ranges(&reached));
            }
        }
        access
    }
}

/// Returns the ranges among destinations, unless one of them is an address of the node itself.
fn routed_ranges(reached: &[ReachedDestination]) -> Vec<String> {
    if reached.iter().any(ReachedDestination::has_own_address) {
        return Vec::new();
    }
    let texts = reached.iter().filter_map(ReachedDestination::text);
    texts.map(str::to_owned).collect()
}
