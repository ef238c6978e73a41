//! Registration (protocol section 5).

use bowline_keys::NodePublic;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{CapabilityVersion, Hostinfo, is_default};

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
    /// Credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RegisterAuth>,
    /// The wished end of the key; in the past: logout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<DateTime<Utc>>,
    /// An auth URL handed out before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub followup: String,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostinfo: Option<Hostinfo>,
    /// Whether to be removed soon after going offline.
    #[serde(skip_serializing_if = "is_default")]
    pub ephemeral: bool,
    /// The tailnet wished for; with the prefix `required:` the only one accepted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tailnet: String,
}

/// Credentials of a registration: wiped when dropped, never shown.
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

/// The answer: every field is always sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterResponse {
    /// The user the node belongs to.
    pub user: User,
    /// The account the client shows.
    pub login: Login,
    /// True: make a new node key and register again.
    pub node_key_expired: bool,
    /// False while an administrator has to approve the machine.
    pub machine_authorized: bool,
    /// Non-empty: not registered, show this URL.
    #[serde(rename = "AuthURL")]
    pub auth_url: String,
    /// Non-empty: refused, show this text.
    pub error: String,
}

/// A user as `RegisterResponse` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct User {
    /// Positive number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// What is shown.
    pub display_name: String,
}

/// An account as `RegisterResponse` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Login {
    /// Positive number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// Who vouches for it.
    pub provider: String,
    /// E-mail-like.
    pub login_name: String,
    /// What is shown.
    pub display_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_key_is_not_shown_and_is_wiped() {
        fn is_wiped<T: ZeroizeOnDrop>(_: &T) {}
        let auth = RegisterAuth {
            auth_key: "secret".to_owned(),
        };
        is_wiped(&auth);
        let request = RegisterRequest {
            auth: Some(auth),
            ..RegisterRequest::default()
        };
        assert!(!format!("{request:#?}").contains("secret"));
    }
}
