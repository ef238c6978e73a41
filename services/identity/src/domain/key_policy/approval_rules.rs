//! What rules of approval may say.

use std::collections::BTreeSet;

use bowline_keys::MachinePublic;
use bowline_proto::identity::v1::ApprovalRule;
use serde_json::{Value, json};

use super::normalize_networks;
use crate::{domain::check_text, error::IdentityError};

/// The most rules of a tailnet.
const MOST_RULES: usize = 50;
/// The most values of one list, machine keys aside.
const MOST_VALUES: usize = 100;
/// The most machine keys of one rule.
const MOST_MACHINE_KEYS: usize = 500;
/// The longest value.
const LONGEST_VALUE: usize = 254;

/// Checks the rules of a policy, and writes them in one form.
pub(super) fn normalize_rules(rules: &mut [ApprovalRule]) -> Result<(), IdentityError> {
    if rules.len() > MOST_RULES {
        return invalid(
            "",
            format!(
                "are more than {MOST_RULES}: one rule may name several tags, users, groups or networks"
            ),
        );
    }
    let mut names = BTreeSet::new();
    for rule in rules {
        check_text("key_policy.approval_rules.name", &rule.name, 100)?;
        if rule.name.is_empty() || !names.insert(rule.name.clone()) {
            return invalid("", "have a name each, and no two the same");
        }
        normalize_rule(rule)?;
    }
    Ok(())
}

fn normalize_rule(rule: &mut ApprovalRule) -> Result<(), IdentityError> {
    let name = rule.name.clone();
    for (field, values, most) in [
        ("tags", &rule.tags, MOST_VALUES),
        ("users", &rule.users, MOST_VALUES),
        ("groups", &rule.groups, MOST_VALUES),
        ("operating_systems", &rule.operating_systems, MOST_VALUES),
        ("machine_keys", &rule.machine_keys, MOST_MACHINE_KEYS),
    ] {
        if values.len() > most {
            return invalid(
                &name,
                format!(
                    "has more than {most} {field}: name groups or networks in their place, or divide it into two rules"
                ),
            );
        }
        for value in values {
            check_text("key_policy.approval_rules", value, LONGEST_VALUE)?;
        }
        if values.iter().any(String::is_empty) {
            return invalid(
                &name,
                format!("has an empty value among its {field}: leave it out"),
            );
        }
    }
    if let Some(wrong) = rule.tags.iter().find(|tag| !tag.starts_with("tag:")) {
        return invalid(
            &name,
            format!("names the tag {wrong}, which does not begin with \"tag:\""),
        );
    }
    if let Some(wrong) = rule.groups.iter().find(|group| group.starts_with("group:")) {
        return invalid(&name, format!("names {wrong}: leave out \"group:\""));
    }
    for key in &rule.machine_keys {
        if key.parse::<MachinePublic>().is_err() {
            let problem = format!(
                "names the machine key {key}, which is not mkey: and 64 hexadecimal digits"
            );
            return invalid(&name, problem);
        }
    }
    let version = &rule.min_client_version;
    let is_version = |version: &str| version.split('.').all(|part| part.parse::<u32>().is_ok());
    if !version.is_empty() && !is_version(version) {
        return invalid(
            &name,
            format!("names the version {version}, which is none such as 1.80.2"),
        );
    }
    let field = "key_policy.approval_rules.source_networks";
    normalize_networks(field, &mut rule.source_networks)?;
    let named = ApprovalRule {
        name,
        ..ApprovalRule::default()
    };
    if *rule == named {
        let problem = "lets every machine in: switch approval off for that (bowline tailnets update --machine-approval false)";
        return invalid(&named.name, problem);
    }
    Ok(())
}

fn invalid(rule: &str, problem: impl Into<String>) -> Result<(), IdentityError> {
    let problem = problem.into();
    let problem = match rule {
        "" => problem,
        rule => format!("the rule {rule} {problem}"),
    };
    Err(IdentityError::invalid("key_policy.approval_rules", problem))
}

/// Returns a rule as the audit trail shows it: what it asks for.
pub(super) fn describe_rule(rule: &ApprovalRule) -> Value {
    let mut shown = json!({ "name": rule.name });
    for (field, values) in [
        ("tags", &rule.tags),
        ("users", &rule.users),
        ("groups", &rule.groups),
        ("operating_systems", &rule.operating_systems),
        ("source_networks", &rule.source_networks),
        ("machine_keys", &rule.machine_keys),
    ] {
        if !values.is_empty() {
            shown[field] = json!(values);
        }
    }
    if !rule.min_client_version.is_empty() {
        shown["min_client_version"] = json!(rule.min_client_version);
    }
    shown
}

#[cfg(test)]
mod tests;
