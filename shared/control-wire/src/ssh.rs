//! SSH policies (protocol section 8.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::is_default;

/// Who may log in over SSH: the first matching rule decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshPolicy {
    /// Rules in order.
    pub rules: Vec<SshRule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshRule {
    /// Whose connections the rule is about.
    pub principals: Vec<SshPrincipal>,
    /// SSH user to local user.
    pub ssh_users: BTreeMap<String, String>,
    /// What happens to such a connection.
    pub action: SshAction,
    /// Accepted environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept_env: Vec<String>,
}

/// A device that a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshPrincipal {
    /// A node's address.
    #[serde(rename = "nodeIP", skip_serializing_if = "String::is_empty")]
    pub node_ip: String,
}

/// What a rule does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SshAction {
    /// What the person who connects is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether to refuse.
    #[serde(skip_serializing_if = "is_default")]
    pub reject: bool,
    /// Whether to accept.
    #[serde(skip_serializing_if = "is_default")]
    pub accept: bool,
    /// Whether agents may be forwarded.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_agent_forwarding: bool,
    /// Whether local ports may be forwarded.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_local_port_forwarding: bool,
    /// Whether remote ports may be forwarded.
    #[serde(skip_serializing_if = "is_default")]
    pub allow_remote_port_forwarding: bool,
    /// The URL where the destination asks for another action.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hold_and_delegate: String,
    /// Session recorders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recorders: Vec<String>,
    /// What happens to a session that can not be recorded; absent: it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_recording_failure: Option<SshRecorderFailureAction>,
}

/// What happens to a session that can not be recorded. The texts are shown to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SshRecorderFailureAction {
    /// Refuses a session that can not begin to be recorded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reject_session_with_message: String,
    /// Ends a session whose recording fails.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub terminate_session_with_message: String,
    /// The URL where the client reports the failure.
    #[serde(rename = "NotifyURL", skip_serializing_if = "String::is_empty")]
    pub notify_url: String,
}
