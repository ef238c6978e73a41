//! Rules that let machines in where an administrator would have to approve them.

use bowline_keys::MachinePublic;
use bowline_proto::{
    identity::v1::{ApprovalRule, User},
    key_registry::v1::Node,
};
use bowline_service_kit::source_networks;

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct ApprovalFacts<'a> {
    /// The tags of the node to be.
    pub tags: &'a [String],
    /// Who logs the device in, or owns the pre-auth key.
    pub user: Option<&'a User>,
    /// The operating system, as the client says.
    pub os: &'a str,
    /// The version, as the client says.
    pub client_version: &'a str,
    /// Where it registers from.
    pub source: &'a str,
    /// 32 bytes.
    pub machine_key: &'a [u8],
}

/// Returns the first rule that fits.
pub fn find_rule<'r>(
    rules: &'r [ApprovalRule],
    facts: ApprovalFacts<'_>,
) -> Option<&'r ApprovalRule> {
    rules.iter().find(|rule| fits(rule, facts))
}

/// Takes back what a rule has approved: the node waits again, unless another rule fits.
pub fn withdraw_rule(node: &mut Node) {
    if !node.approved_by_rule.is_empty() {
        node.approved_by_rule.clear();
        node.approved = false;
    }
}

/// Says whether a node that a rule has approved stays so with other tags. A rule that is there no more has approved it for good.
pub fn fits_tags(rules: &[ApprovalRule], approved_by: &str, tags: &[String]) -> bool {
    let rule = rules.iter().find(|rule| rule.name == approved_by);
    rule.is_none_or(|rule| has_only(rule, tags))
}

/// Says whether a node has tags, and no others than those of a rule; a rule without tags does not ask for any.
fn has_only(rule: &ApprovalRule, tags: &[String]) -> bool {
    let is_named = |tag| rule.tags.contains(tag);
    rule.tags.is_empty() || (!tags.is_empty() && tags.iter().all(is_named))
}

fn fits(rule: &ApprovalRule, facts: ApprovalFacts<'_>) -> bool {
    let is_user = |wanted: &dyn Fn(&User) -> bool| facts.user.is_some_and(wanted);
    let in_group = |user: &User| user.groups.iter().any(|group| rule.groups.contains(group));
    let machine = || MachinePublic::try_from(facts.machine_key).map(|key| key.to_string());
    let is_known = || machine().is_ok_and(|machine| rule.machine_keys.contains(&machine));
    let has_os = || {
        rule.operating_systems
            .iter()
            .any(|os| os.eq_ignore_ascii_case(facts.os))
    };
    has_only(rule, facts.tags)
        && (rule.users.is_empty() || is_user(&|user| rule.users.contains(&user.login_name)))
        && (rule.groups.is_empty() || is_user(&in_group))
        && (rule.operating_systems.is_empty() || has_os())
        && is_as_new(facts.client_version, &rule.min_client_version)
        && (rule.source_networks.is_empty()
            || source_networks::networks_include(&rule.source_networks, facts.source))
        && (rule.machine_keys.is_empty() || is_known())
}

/// Says whether a client's version, such as "1.102.5-t1a2b3c4d5", is not before another, such as "1.80".
fn is_as_new(version: &str, oldest: &str) -> bool {
    let numbers = |version: &str| {
        let release = version
            .split_once('-')
            .map_or(version, |(release, _)| release);
        let parts = release.split('.').map(|part| part.parse::<u32>().ok());
        parts.collect::<Option<Vec<_>>>()
    };
    oldest.is_empty() || numbers(version).is_some_and(|version| Some(version) >= numbers(oldest))
}

#[cfg(test)]
mod tests;
