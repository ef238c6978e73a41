//! Registration (protocol section 5).

use bowline_keys::NodePublic;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Base64Bytes, CapabilityVersion, Hostinfo, is_default};

/// What a client sends to be registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegisterRequest {
    /// The capability version; 1 on the NaCl transport.
    pub version: CapabilityVersion,
    /// The key to register.
    pub node_key: NodePublic,
    /// The last key the client rotated away from, or zero.
    pub old_node_key: NodePublic,
    /// The key with which the client signs for tailnet lock, as `nlpub:` and hexadecimal digits.
    #[serde(rename = "NLKey", skip_serializing_if = "String::is_empty")]
    pub nl_key: String,
    /// A signature of the node key, for tailnet lock.
    #[serde(skip_serializing_if = "Base64Bytes::is_empty")]
    pub node_key_signature: Base64Bytes,
    /// Credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RegisterAuth>,
    /// When the client wants its key to end; a time in the past is a logout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<DateTime<Utc>>,
    /// The auth URL of an earlier answer: wait until that login is decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub followup: String,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostinfo: Option<Hostinfo>,
    /// Whether the node is deleted soon after it goes offline.
    #[serde(skip_serializing_if = "is_default")]
    pub ephemeral: bool,
    /// The tailnet the client wants; with the prefix `required:` it accepts no other.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tailnet: String,
}

/// Credentials of a registration: wiped when dropped, redacted in `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterAuth {
    /// A pre-auth key.
    #[serde(default)]
    pub auth_key: String,
}

impl std::fmt::Debug for RegisterAuth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RegisterAuth([redacted])")
    }
}

/// The answer to a registration. Every member is always sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterResponse {
    /// The user the node belongs to.
    pub user: User,
    /// The account the client shows.
    pub login: Login,
    /// Whether the client makes a new node key and registers again.
    pub node_key_expired: bool,
    /// False while an administrator has to approve the machine.
    pub machine_authorized: bool,
    /// The URL the client shows to its person, when it is not registered.
    #[serde(rename = "AuthURL")]
    pub auth_url: String,
    /// The signature of the client's last node key, which it rotates to a new one before it registers again.
    pub node_key_signature: Option<Base64Bytes>,
    /// The text the client shows, when it is refused.
    pub error: String,
}

/// A user as `RegisterResponse` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct User {
    /// Positive number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// The name that clients show.
    pub display_name: String,
}

/// An account as `RegisterResponse` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Login {
    /// Positive number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// The identity provider.
    pub provider: String,
    /// E-mail-like.
    pub login_name: String,
    /// The name that clients show.
    pub display_name: String,
}

#[cfg(test)]
mod tests;
