//! What a tailnet's key policy may say. The key registry enforces it.

mod approval_rules;
mod rotation_rules;

use std::{collections::BTreeSet, ops::RangeInclusive};

use bowline_proto::identity::v1::{ApprovalWebhook, KeyPolicy};
use bowline_service_kit::source_networks;
use prost::Message as _;
use serde_json::{Value, json};

use crate::error::IdentityError;

/// The longest that keys may be let work: 100 years, in seconds.
const LONGEST_LIFETIME: i64 = 100 * 365 * 24 * 3600;
/// The longest policy, as messages have it, in bytes. Each registration reads it, and the audit trail has it before and after.
const LONGEST_POLICY: usize = 64 << 10;
/// How long an outside system may take to answer, in seconds.
const DEADLINES: RangeInclusive<i64> = 1..=30;
/// The most networks of one list.
const MOST_NETWORKS: usize = 100;

/// Checks a key policy, and writes it in one form.
pub fn normalize_policy(mut policy: KeyPolicy) -> Result<KeyPolicy, IdentityError> {
    if let Some(rules) = &mut policy.pre_auth_keys {
        let lifetime = rules.max_lifetime.map(|lifetime| lifetime.seconds);
        if lifetime.is_some_and(|seconds| !(60..=LONGEST_LIFETIME).contains(&seconds)) {
            let problem = "is not between a minute and 100 years; leave it out for no limit";
            let field = "key_policy.pre_auth_keys.max_lifetime";
            return Err(IdentityError::invalid(field, problem));
        }
        let field = "key_policy.pre_auth_keys.source_networks";
        normalize_networks(field, &mut rules.source_networks)?;
    }
    if let Some(rules) = &mut policy.logins {
        let field = "key_policy.logins.source_networks";
        normalize_networks(field, &mut rules.source_networks)?;
    }
    approval_rules::normalize_rules(&mut policy.approval_rules)?;
    if let Some(rules) = &mut policy.rotation {
        rotation_rules::normalize_rules(rules)?;
    }
    if let Some(webhook) = &mut policy.approval_webhook {
        check_deadline(webhook)?;
    }
    policy.rotation = policy.rotation.filter(|rules| *rules != Default::default());
    policy.pre_auth_keys = policy
        .pre_auth_keys
        .filter(|rules| *rules != Default::default());
    policy.logins = policy.logins.filter(|rules| *rules != Default::default());
    policy.users = policy.users.filter(|rules| *rules != Default::default());
    if policy.encoded_len() > LONGEST_POLICY {
        let problem = "is longer than 64 KiB: name groups in place of users, and networks or tags in place of machine keys";
        return Err(IdentityError::invalid("key_policy", problem));
    }
    Ok(policy)
}

fn check_deadline(webhook: &mut ApprovalWebhook) -> Result<(), IdentityError> {
    match &mut webhook.deadline {
        Some(deadline) if DEADLINES.contains(&deadline.seconds) => deadline.nanos = 0,
        _ => {
            let problem = "is not between 1 and 30 seconds";
            let field = "key_policy.approval_webhook.deadline";
            return Err(IdentityError::invalid(field, problem));
        }
    }
    Ok(())
}

fn normalize_networks(
    field: &'static str,
    networks: &mut Vec<String>,
) -> Result<(), IdentityError> {
    if networks.len() > MOST_NETWORKS {
        let problem =
            format!("are more than {MOST_NETWORKS} networks: give a wider one in place of several");
        return Err(IdentityError::invalid(field, problem));
    }
    for network in &mut *networks {
        let read = source_networks::read_network(network);
        let read = read.map_err(|problem| IdentityError::invalid(field, problem))?;
        *network = read.to_string();
    }
    networks.sort();
    networks.dedup();
    Ok(())
}

/// Returns what an administrator should know of a policy that is new.
pub fn find_warnings(before: Option<&KeyPolicy>, now: Option<&KeyPolicy>) -> Vec<String> {
    let tags_of = |policy: Option<&KeyPolicy>| -> BTreeSet<String> {
        let rules = policy.and_then(|policy| policy.rotation.as_ref());
        let tags = rules.into_iter().flat_map(|rules| &rules.tags);
        tags.map(|rule| rule.tag.clone()).collect()
    };
    let (was, is) = (tags_of(before), tags_of(now));
    let added: Vec<_> = is.difference(&was).cloned().collect();
    if added.is_empty() {
        return Vec::new();
    }
    let tags = added.join(", ");
    vec![format!(
        "keys of devices with {tags} end from now on unless they are replaced: a client replaces its key only when it is told to \
         (tailscale up --force-reauth in the last tenth of the interval). A device that nobody attends needs a timer for that, or \
         a pre-auth key at hand"
    )]
}

/// Returns a key policy as the audit trail shows it; null for none.
pub fn describe_policy(policy: Option<&KeyPolicy>) -> Value {
    let Some(policy) = policy else {
        return Value::Null;
    };
    json!({
        "pre_auth_keys": policy.pre_auth_keys.as_ref().map(|rules| json!({
            "only_tagged": rules.only_tagged,
            "only_ephemeral": rules.only_ephemeral,
            "only_one_off": rules.only_one_off,
            "max_lifetime_seconds": rules.max_lifetime.map(|lifetime| lifetime.seconds),
            "max_uses": rules.max_uses,
            "max_uses_per_hour": rules.max_uses_per_hour,
            "source_networks": rules.source_networks,
        })),
        "logins": policy.logins.as_ref().map(|rules| json!({
            "no_new_nodes": rules.no_new_nodes,
            "no_tags": rules.no_tags,
            "source_networks": rules.source_networks,
        })),
        "users": policy.users.as_ref().map(|rules| json!({
            "max_nodes": rules.max_nodes,
            "max_new_nodes_per_hour": rules.max_new_nodes_per_hour,
        })),
        "approval_rules": policy.approval_rules.iter().map(approval_rules::describe_rule).collect::<Vec<_>>(),
        "approval_webhook": policy.approval_webhook.map(|webhook| json!({
            "webhook": webhook.webhook_id,
            "deadline_seconds": webhook.deadline.map(|deadline| deadline.seconds),
        })),
        "rotation": policy.rotation.as_ref().map(rotation_rules::describe_rules),
    })
}

#[cfg(test)]
mod tests;
