//! Which rules let one node reach another, and which come near.

use std::sync::Arc;

use super::{
    class_access::ClassAccess,
    compiler::Compiler,
    plan::AccessPlan,
    rule_text::{RuleSummary, describe_allowed},
};
use crate::policy::{AccessRule, DestinationKind, Policy, PosturedSelector};

/// Why a node may or may not reach another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The rules that allow it.
    pub allowed_by: Vec<RuleUse>,
    /// Rules that name the source and not the destination.
    pub only_source: Vec<RuleUse>,
    /// Rules that name the destination and not the source.
    pub only_destination: Vec<RuleUse>,
    /// Rules that name both, for devices that meet a posture the source does not meet.
    pub posture_missing: Vec<RuleUse>,
}

/// A rule and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleUse {
    /// The line of the document; zero for the default policy.
    pub line: u32,
    /// The rule in short: `group:eng → tag:web`.
    pub rule: String,
    /// What it allows there: `tcp:22`, `any:80`, a capability's name.
    pub allows: Vec<String>,
    /// The ranges behind the destination that it is about; empty for the destination's own addresses.
    pub through_routes: Vec<String>,
}

impl RuleUse {
    fn new(rule: &AccessRule, through_routes: Vec<String>) -> Self {
        Self {
            line: rule.line,
            rule: RuleSummary(rule).to_string(),
            allows: describe_allowed(rule),
            through_routes,
        }
    }
}

impl Compiler {
    /// Says which rules let a node reach another, and which come near; `None` when one of the nodes does not exist.
    #[must_use]
    pub fn explain_access(&self, source: u64, destination: u64) -> Option<Explanation> {
        let (from, to) = (self.nodes().get(&source)?, self.nodes().get(&destination)?);
        let plan = self.plan();
        let owner = self.owner_of(from);
        let has_same_owner = owner.is_some() && owner == self.owner_of(to);
        let sources = ClassAccess::new(self, plan, from).from;
        let reached = ClassAccess::new(self, plan, to).to;
        let sources_without_postures = {
            let rules = remove_postures(self.policy());
            let relaxed = AccessPlan::from_rules(&rules, self.policy());
            ClassAccess::new(self, &relaxed, from).from
        };
        let mut explanation = Explanation::default();
        for (number, rule) in (0..).zip(&plan.rules) {
            let is_destination = match rule.rule.destination_kind {
                DestinationKind::Named => reached.contains_key(&number),
                DestinationKind::Own | DestinationKind::OwnReversed => has_same_owner,
            };
            let routes = reached.get(&number).cloned().unwrap_or_default();
            let used = RuleUse::new(&rule.rule, routes);
            match (sources.contains(&number), is_destination) {
                (true, true) => explanation.allowed_by.push(used),
                (false, true) if sources_without_postures.contains(&number) => {
                    explanation.posture_missing.push(used);
                }
                (true, false) => explanation.only_source.push(used),
                (false, true) => explanation.only_destination.push(used),
                (false, false) => {}
            }
        }
        explanation.sort_by_line();
        Some(explanation)
    }
}

impl Explanation {
    fn sort_by_line(&mut self) {
        let Self {
            allowed_by,
            only_source,
            only_destination,
            posture_missing,
        } = self;
        for uses in [allowed_by, only_source, only_destination, posture_missing] {
            uses.sort_by_key(|used| used.line);
        }
    }
}

/// Returns the rules as they would be if every device met every posture.
fn remove_postures(policy: &Policy) -> Vec<Arc<AccessRule>> {
    let relax = |rule: &Arc<AccessRule>| {
        if rule.sources.iter().all(|source| source.postures.is_empty()) {
            return Arc::clone(rule);
        }
        let selectors = rule.sources.iter().map(|source| source.selector.clone());
        Arc::new(AccessRule {
            sources: Arc::new(selectors.map(PosturedSelector::from).collect()),
            ..AccessRule::clone(rule)
        })
    };
    policy.rules.iter().map(relax).collect()
}
