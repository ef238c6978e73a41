//! What rules of rotation may say.

use bowline_proto::identity::v1::{RotationRules, TagRotation};
use prost_types::Duration;
use serde_json::{Value, json};

use super::LONGEST_LIFETIME;
use crate::error::IdentityError;

/// The most tags of a tailnet that have an interval.
const MOST_TAGS: usize = 100;
/// The longest name of a tag, "tag:" included.
const LONGEST_TAG: usize = 100;

/// Checks the rules of a policy, and writes them in one form.
pub(super) fn normalize_rules(rules: &mut RotationRules) -> Result<(), IdentityError> {
    check_interval("key_policy.rotation.interval", &mut rules.interval)?;
    if rules.tags.len() > MOST_TAGS {
        return invalid(format!(
            "are more than {MOST_TAGS}: leave out those whose keys need not be replaced"
        ));
    }
    for TagRotation { tag, interval } in &mut rules.tags {
        let is_tag = tag.strip_prefix("tag:").is_some_and(|name| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        });
        if !is_tag || tag.len() > LONGEST_TAG {
            let tag = tag.escape_debug();
            return invalid(format!(
                "name \"{tag}\", which is not tag: and a name such as tag:web"
            ));
        }
        if interval.is_none() {
            return invalid(format!(
                "name {tag} without an interval: leave the tag out instead"
            ));
        }
        check_interval("key_policy.rotation.tags.interval", interval)?;
    }
    rules.tags.sort_by(|one, other| one.tag.cmp(&other.tag));
    if let Some([twice, _]) = rules
        .tags
        .array_windows()
        .find(|[one, other]| one.tag == other.tag)
    {
        let tag = twice.tag.clone();
        return invalid(format!("name {tag} more than once: leave all but one out"));
    }
    Ok(())
}

fn check_interval(
    field: &'static str,
    interval: &mut Option<Duration>,
) -> Result<(), IdentityError> {
    let Some(interval) = interval else {
        return Ok(());
    };
    if !(60..=LONGEST_LIFETIME).contains(&interval.seconds) {
        let problem = "is not between a minute and 100 years; leave it out for keys that need not be replaced";
        return Err(IdentityError::invalid(field, problem));
    }
    interval.nanos = 0;
    Ok(())
}

fn invalid(problem: String) -> Result<(), IdentityError> {
    Err(IdentityError::invalid("key_policy.rotation.tags", problem))
}

/// Returns the rules as the audit trail shows them.
pub(super) fn describe_rules(rules: &RotationRules) -> Value {
    let seconds = |interval: &Option<Duration>| interval.map(|interval| interval.seconds);
    let tags = rules
        .tags
        .iter()
        .map(|rule| json!({ "tag": rule.tag, "interval_seconds": seconds(&rule.interval) }));
    json!({
        "interval_seconds": seconds(&rules.interval),
        "tags": tags.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
