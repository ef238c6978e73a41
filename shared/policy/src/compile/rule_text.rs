//! Access rules in words.

use std::{collections::BTreeSet, fmt};

use super::{class_access::ClassAccess, plan::AccessPlan};
use crate::{
    policy::{AccessRule, DestinationKind, ProtocolPorts},
    port::Ports,
    protocol,
    selector::Selector,
};

/// A rule in short: `group:eng, tag:ci → tag:web via tag:router`.
pub(super) struct RuleSummary<'r>(pub(super) &'r AccessRule);

impl fmt::Display for RuleSummary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rule) = self;
        let sources = list_selectors(rule.sources.iter().map(|source| &source.selector));
        let destinations = match rule.destination_kind {
            DestinationKind::Named => {
                list_selectors(rule.destinations.iter().map(|one| &one.selector))
            }
            DestinationKind::Own | DestinationKind::OwnReversed => Selector::Own.to_string(),
        };
        write!(formatter, "{sources} → {destinations}")?;
        if !rule.via.is_empty() {
            let tags: Vec<_> = rule.via.iter().map(String::as_str).collect();
            write!(formatter, " via {}", tags.join(", "))?;
        }
        Ok(())
    }
}

/// Names the first three selectors, and how many more there are.
fn list_selectors<'s>(selectors: impl Iterator<Item = &'s Selector>) -> String {
    let texts: Vec<_> = selectors.map(ToString::to_string).collect();
    match &*texts {
        [first, second, third, _, ..] => {
            format!("{first}, {second}, {third} and {} more", texts.len() - 3)
        }
        _ => texts.join(", "),
    }
}

/// Returns what a rule allows: protocols with ports, and names of capabilities.
pub(super) fn describe_allowed(rule: &AccessRule) -> Vec<String> {
    let mut allowed = Vec::new();
    for ProtocolPorts { protocol, ports } in &rule.services {
        let name = protocol.map_or_else(|| "any".to_owned(), protocol::name);
        for ports in ports {
            allowed.push(format!("{name}:{}", describe_ports(*ports)));
        }
    }
    for capability in &rule.capabilities {
        allowed.push(capability.name.clone());
    }
    allowed
}

fn describe_ports(ports: Ports) -> String {
    match ports {
        Ports::ALL => "*".to_owned(),
        Ports { first, last } if first == last => first.to_string(),
        Ports { first, last } => format!("{first}-{last}"),
    }
}

/// Returns what one class may do at another.
pub(super) fn describe_access(
    plan: &AccessPlan,
    from: &ClassAccess,
    to: &ClassAccess,
) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for (number, routes) in &to.to {
        if !from.from.contains(number) {
            continue;
        }
        for text in describe_allowed(&plan.rule(*number).rule) {
            if routes.is_empty() {
                allowed.insert(text);
            } else {
                allowed.insert(format!("{text} at {}", routes.join(", ")));
            }
        }
    }
    allowed
}

/// Returns what devices of a class may do at other devices of the same user.
pub(super) fn describe_own_access(plan: &AccessPlan, from: &ClassAccess) -> BTreeSet<String> {
    let rules = plan.own_device_rules.iter();
    let rules = rules.filter(|number| from.from.contains(number));
    rules
        .flat_map(|number| describe_allowed(&plan.rule(*number).rule))
        .collect()
}
