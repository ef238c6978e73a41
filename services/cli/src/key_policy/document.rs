//! A key policy as people write it: JSON with the names of the API, and durations such as 7d.

use std::collections::BTreeMap;

use bowline_proto::identity::v1::{
    ApprovalRule, ApprovalWebhook, KeyPolicy, LoginRules, PreAuthKeyRules, RotationRules,
    TagRotation, UserRules,
};
use serde::{Deserialize, Serialize};

use crate::time;

/// The whole of it. What is not said is allowed.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeyPolicyDocument {
    pre_auth_keys: PreAuthKeyPart,
    logins: LoginPart,
    users: UserPart,
    approval_rules: Vec<ApprovalRulePart>,
    rotation: RotationPart,
    approval_webhook: Option<ApprovalWebhookPart>,
}

#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ApprovalWebhookPart {
    /// Its number.
    webhook: u64,
    deadline: String,
}

impl ApprovalWebhookPart {
    fn parse(self) -> Result<ApprovalWebhook, String> {
        let deadline = time::parse_duration(&self.deadline);
        let deadline = deadline.map_err(|problem| format!("deadline: {problem}"))?;
        Ok(ApprovalWebhook {
            webhook_id: self.webhook,
            deadline: Some(time::whole_seconds(deadline)),
        })
    }
}

impl From<ApprovalWebhook> for ApprovalWebhookPart {
    fn from(webhook: ApprovalWebhook) -> Self {
        let deadline = webhook.deadline.map_or(0, |deadline| deadline.seconds);
        Self {
            webhook: webhook.webhook_id,
            deadline: time::duration_text(deadline),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RotationPart {
    interval: Option<String>,
    /// By tag.
    tags: BTreeMap<String, String>,
}

impl RotationPart {
    fn parse(self) -> Result<RotationRules, String> {
        let read = |of: &str, text: &str| {
            let interval = time::parse_duration(text);
            let interval = interval.map_err(|problem| format!("rotation of {of}: {problem}"))?;
            Ok::<_, String>(Some(time::whole_seconds(interval)))
        };
        let interval = self.interval.as_deref();
        let interval = interval.map(|text| read("devices without tags", text));
        let tags = self.tags.into_iter().map(|(tag, text)| {
            let interval = read(&tag, &text)?;
            Ok(TagRotation { tag, interval })
        });
        Ok(RotationRules {
            interval: interval.transpose()?.flatten(),
            tags: tags.collect::<Result<_, String>>()?,
        })
    }
}

impl From<RotationRules> for RotationPart {
    fn from(rules: RotationRules) -> Self {
        let text = |interval: prost_types::Duration| time::duration_text(interval.seconds);
        let tags = rules.tags.into_iter();
        Self {
            interval: rules.interval.map(text),
            tags: tags
                .map(|rule| (rule.tag, rule.interval.map(text).unwrap_or_default()))
                .collect(),
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct PreAuthKeyPart {
    only_tagged: bool,
    only_ephemeral: bool,
    only_one_off: bool,
    max_lifetime: Option<String>,
    max_uses: u32,
    max_uses_per_hour: u32,
    source_networks: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct LoginPart {
    no_new_nodes: bool,
    no_tags: bool,
    source_networks: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct UserPart {
    max_nodes: u32,
    max_new_nodes_per_hour: u32,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct ApprovalRulePart {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operating_systems: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    min_client_version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_networks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    machine_keys: Vec<String>,
}

impl From<ApprovalRulePart> for ApprovalRule {
    fn from(rule: ApprovalRulePart) -> Self {
        Self {
            name: rule.name,
            tags: rule.tags,
            users: rule.users,
            groups: rule.groups,
            operating_systems: rule.operating_systems,
            min_client_version: rule.min_client_version,
            source_networks: rule.source_networks,
            machine_keys: rule.machine_keys,
        }
    }
}

impl From<ApprovalRule> for ApprovalRulePart {
    fn from(rule: ApprovalRule) -> Self {
        Self {
            name: rule.name,
            tags: rule.tags,
            users: rule.users,
            groups: rule.groups,
            operating_systems: rule.operating_systems,
            min_client_version: rule.min_client_version,
            source_networks: rule.source_networks,
            machine_keys: rule.machine_keys,
        }
    }
}

impl KeyPolicyDocument {
    /// Reads a document.
    pub(super) fn parse(text: &str) -> Result<KeyPolicy, String> {
        let document: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Self {
            pre_auth_keys,
            logins,
            users,
            approval_rules,
            rotation,
            approval_webhook,
        } = document;
        let approval_webhook = approval_webhook.map(ApprovalWebhookPart::parse);
        let lifetime = pre_auth_keys.max_lifetime.as_deref();
        let lifetime = lifetime.map(time::parse_duration).transpose();
        let lifetime = lifetime.map_err(|problem| format!("max_lifetime: {problem}"))?;
        Ok(KeyPolicy {
            pre_auth_keys: Some(PreAuthKeyRules {
                only_tagged: pre_auth_keys.only_tagged,
                only_ephemeral: pre_auth_keys.only_ephemeral,
                only_one_off: pre_auth_keys.only_one_off,
                max_lifetime: lifetime.map(time::whole_seconds),
                max_uses: pre_auth_keys.max_uses,
                max_uses_per_hour: pre_auth_keys.max_uses_per_hour,
                source_networks: pre_auth_keys.source_networks,
            }),
            logins: Some(LoginRules {
                no_new_nodes: logins.no_new_nodes,
                no_tags: logins.no_tags,
                source_networks: logins.source_networks,
            }),
            users: Some(UserRules {
                max_nodes: users.max_nodes,
                max_new_nodes_per_hour: users.max_new_nodes_per_hour,
            }),
            approval_rules: approval_rules.into_iter().map(ApprovalRule::from).collect(),
            rotation: Some(rotation.parse()?),
            approval_webhook: approval_webhook.transpose()?,
        })
    }

    /// Shows a key policy with all its fields, so that they need not be looked up.
    pub(super) fn from_policy(policy: KeyPolicy) -> Self {
        let keys = policy.pre_auth_keys.unwrap_or_default();
        let logins = policy.logins.unwrap_or_default();
        let users = policy.users.unwrap_or_default();
        Self {
            pre_auth_keys: PreAuthKeyPart {
                only_tagged: keys.only_tagged,
                only_ephemeral: keys.only_ephemeral,
                only_one_off: keys.only_one_off,
                max_lifetime: keys
                    .max_lifetime
                    .map(|lifetime| time::duration_text(lifetime.seconds)),
                max_uses: keys.max_uses,
                max_uses_per_hour: keys.max_uses_per_hour,
                source_networks: keys.source_networks,
            },
            logins: LoginPart {
                no_new_nodes: logins.no_new_nodes,
                no_tags: logins.no_tags,
                source_networks: logins.source_networks,
            },
            users: UserPart {
                max_nodes: users.max_nodes,
                max_new_nodes_per_hour: users.max_new_nodes_per_hour,
            },
            approval_rules: policy
                .approval_rules
                .into_iter()
                .map(ApprovalRulePart::from)
                .collect(),
            rotation: policy.rotation.unwrap_or_default().into(),
            approval_webhook: policy.approval_webhook.map(ApprovalWebhookPart::from),
        }
    }
}

#[cfg(test)]
mod tests;
