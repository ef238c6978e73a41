//! Whose access another policy would change.
//!
//! The nodes are put into groups that neither policy tells apart, and only groups that a changed rule names are compared.
//! Example: the new document adds `tag:ci` to the sources of one rule to `tag:web`. The only groups compared are those of
//! `tag:ci` and of the rule's former sources with those of `tag:web`, and the former sources turn out to be unchanged.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{Hash, Hasher},
};

use super::{
    class::ClassKey,
    class_access::ClassAccess,
    compiler::Compiler,
    plan::AccessPlan,
    rule_text::{describe_access, describe_own_access},
};
use crate::{
    policy::{AccessRule, Policy, PosturedSelector},
    selector::Selector,
};

/// The most pairs a preview lists.
const MOST_PAIRS: usize = 1000;

/// What another policy would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Pairs of nodes whose access differs, by source and destination; at most a thousand.
    pub pairs: BTreeMap<(u64, u64), PairChange>,
    /// How many there are.
    pub total: u64,
}

/// What differs for a pair of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairChange {
    /// What the source may do only with the other policy.
    pub gained: BTreeSet<String>,
    /// What it may do only now.
    pub lost: BTreeSet<String>,
}

/// Nodes that neither policy tells apart.
struct NodeGroup {
    number: usize,
    nodes: Vec<u64>,
    current: ClassAccess,
    proposed: ClassAccess,
}

/// What a source may do at a destination, under each of the two policies.
struct AccessChange {
    current: BTreeSet<String>,
    proposed: BTreeSet<String>,
}

/// The policy in force and a proposed one, and the rules that are only in one of them.
struct PolicyComparison<'p> {
    current: &'p AccessPlan,
    proposed: &'p AccessPlan,
    changed_current: BTreeSet<u32>,
    changed_proposed: BTreeSet<u32>,
}

impl Compiler {
    /// Says whose access another policy would change.
    #[must_use]
    pub fn preview_policy(&self, other: &Policy) -> Preview {
        let comparison = PolicyComparison {
            current: self.plan(),
            proposed: &AccessPlan::new(other),
            changed_current: find_changed_rules(self.policy(), other),
            changed_proposed: find_changed_rules(other, self.policy()),
        };
        let groups = self.group_nodes(&comparison);
        let mut preview = Preview::default();
        let mut differing = BTreeSet::new();
        for from in &groups {
            if !comparison.is_source_of_changed(from) {
                continue;
            }
            for to in &groups {
                if !comparison.connects_by_changed(from, to) {
                    continue;
                }
                let change = comparison.compare_access(from, to);
                if change.current != change.proposed {
                    differing.insert((from.number, to.number));
                    preview.add_groups(from, to, &change);
                }
            }
        }
        self.preview_own_devices(&comparison, &groups, &differing, &mut preview);
        preview
    }

    fn group_nodes(&self, comparison: &PolicyComparison<'_>) -> Vec<NodeGroup> {
        let mut groups: BTreeMap<[u64; 2], NodeGroup> = BTreeMap::new();
        for node in self.nodes().values() {
            let user = self.owner_of(node);
            let class = |plan: &AccessPlan| ClassKey::new(plan, node, user).id(plan);
            let classes = [class(comparison.current), class(comparison.proposed)];
            let number = groups.len();
            let group = groups.entry(classes).or_insert_with(|| NodeGroup {
                number,
                nodes: Vec::new(),
                current: ClassAccess::new(self, comparison.current, node),
                proposed: ClassAccess::new(self, comparison.proposed, node),
            });
            group.nodes.push(node.id);
        }
        groups.into_values().collect()
    }

    /// Adds the pairs of devices of one user whose access by `autogroup:self` differs.
    fn preview_own_devices(
        &self,
        comparison: &PolicyComparison<'_>,
        groups: &[NodeGroup],
        differing: &BTreeSet<(usize, usize)>,
        preview: &mut Preview,
    ) {
        let plans = [comparison.current, comparison.proposed];
        if plans.iter().all(|plan| plan.own_device_rules.is_empty()) {
            return;
        }
        let mut devices: BTreeMap<u64, Vec<(u64, &NodeGroup)>> = BTreeMap::new();
        for group in groups {
            for node in &group.nodes {
                if let Some(user) = self.owner_of(&self.nodes()[node]) {
                    devices.entry(user.id).or_default().push((*node, group));
                }
            }
        }
        for of_user in devices.values() {
            for (source, from) in of_user {
                let own_current = describe_own_access(comparison.current, &from.current);
                let own_proposed = describe_own_access(comparison.proposed, &from.proposed);
                if own_current.is_empty() && own_proposed.is_empty() {
                    continue;
                }
                for (destination, to) in of_user {
                    if destination == source {
                        continue;
                    }
                    let mut change = comparison.compare_access(from, to);
                    change.current.extend(own_current.iter().cloned());
                    change.proposed.extend(own_proposed.iter().cloned());
                    let was_counted = differing.contains(&(from.number, to.number));
                    preview.replace_pair((*source, *destination), was_counted, &change);
                }
            }
        }
    }
}

impl PolicyComparison<'_> {
    /// Says whether a changed rule names a group as a source.
    fn is_source_of_changed(&self, group: &NodeGroup) -> bool {
        !group.current.from.is_disjoint(&self.changed_current)
            || !group.proposed.from.is_disjoint(&self.changed_proposed)
    }

    /// Says whether a changed rule leads from one group to another.
    fn connects_by_changed(&self, from: &NodeGroup, to: &NodeGroup) -> bool {
        let connects = |from: &ClassAccess, to: &ClassAccess, changed: &BTreeSet<u32>| {
            let mut rules = from.from.intersection(changed);
            rules.any(|rule| to.to.contains_key(rule))
        };
        connects(&from.current, &to.current, &self.changed_current)
            || connects(&from.proposed, &to.proposed, &self.changed_proposed)
    }

    fn compare_access(&self, from: &NodeGroup, to: &NodeGroup) -> AccessChange {
        AccessChange {
            current: describe_access(self.current, &from.current, &to.current),
            proposed: describe_access(self.proposed, &from.proposed, &to.proposed),
        }
    }
}

impl Preview {
    /// Adds all pairs of two groups.
    fn add_groups(&mut self, from: &NodeGroup, to: &NodeGroup, change: &AccessChange) {
        let pairs_of_one = if from.number == to.number {
            from.nodes.len()
        } else {
            0
        };
        let pairs = from.nodes.len() * to.nodes.len() - pairs_of_one;
        self.total += u64::try_from(pairs).unwrap_or(u64::MAX);
        for source in &from.nodes {
            for destination in &to.nodes {
                if self.pairs.len() >= MOST_PAIRS {
                    return;
                }
                if source != destination {
                    self.add_pair((*source, *destination), change);
                }
            }
        }
    }

    /// Replaces what is said of a pair by what holds for its two devices.
    fn replace_pair(&mut self, pair: (u64, u64), was_counted: bool, change: &AccessChange) {
        self.pairs.remove(&pair);
        self.total -= u64::from(was_counted);
        if change.current != change.proposed {
            self.total += 1;
            self.add_pair(pair, change);
        }
    }

    fn add_pair(&mut self, pair: (u64, u64), change: &AccessChange) {
        if self.pairs.len() < MOST_PAIRS {
            let change = PairChange {
                gained: &change.proposed - &change.current,
                lost: &change.current - &change.proposed,
            };
            self.pairs.insert(pair, change);
        }
    }
}

/// A rule without its place in the document: two rules that mean the same are equal.
struct RuleMeaning<'r>(&'r AccessRule);

impl<'r> RuleMeaning<'r> {
    fn compared_parts(&self) -> impl PartialEq + Hash + use<'r> {
        let AccessRule {
            sources,
            destinations,
            destination_kind: reach,
            services,
            capabilities,
            via,
            covers_internet,
            line: _,
        } = self.0;
        let who = (sources, destinations, reach, via);
        (who, services, capabilities, covers_internet)
    }
}

impl PartialEq for RuleMeaning<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.compared_parts() == other.compared_parts()
    }
}

impl Eq for RuleMeaning<'_> {}

impl Hash for RuleMeaning<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compared_parts().hash(state);
    }
}

/// Returns the rules of a policy that are not in another, or mean something else there.
fn find_changed_rules(policy: &Policy, other: &Policy) -> BTreeSet<u32> {
    // A rule may stand in a document several times: each of its places there stands for one here.
    let mut known: HashMap<RuleMeaning<'_>, usize> = HashMap::new();
    for rule in &other.rules {
        *known.entry(RuleMeaning(rule)).or_default() += 1;
    }
    let mut changed = BTreeSet::new();
    for (number, rule) in (0..).zip(&policy.rules) {
        let is_known = match known.get_mut(&RuleMeaning(rule)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        let mut selectors = rule.sources.iter().chain(&rule.destinations);
        if !is_known || selectors.any(|selector| means_something_else(selector, policy, other)) {
            changed.insert(number);
        }
    }
    changed
}

/// Says whether a selector's group or postures are defined otherwise in another policy.
fn means_something_else(selector: &PosturedSelector, policy: &Policy, other: &Policy) -> bool {
    let has_other_group = match &selector.selector {
        Selector::Group(name) => policy.groups.get(name) != other.groups.get(name),
        _ => false,
    };
    let mut postures = selector.postures.iter();
    has_other_group || postures.any(|name| policy.postures.get(name) != other.postures.get(name))
}
