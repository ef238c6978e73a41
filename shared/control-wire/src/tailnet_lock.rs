//! Tailnet lock (protocol section 11).

use std::collections::BTreeMap;

use bowline_keys::NodePublic;
use serde::{Deserialize, Serialize};

use crate::{Base64Bytes, is_default};

/// What a client is told of its tailnet's lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaInfo {
    /// The hash of the last update.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub head: String,
    /// The lock was switched off: the client asks for the secret that proves it.
    #[serde(skip_serializing_if = "is_default")]
    pub disabled: bool,
}

/// A request to begin a lock.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaInitBeginRequest {
    /// The node that asks.
    pub node_key: NodePublic,
    /// The first update.
    #[serde(rename = "GenesisAUM")]
    pub genesis: Base64Bytes,
}

/// The nodes that need a signature.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaInitBeginResponse {
    /// All nodes of the tailnet.
    pub need_signatures: Vec<TkaSignInfo>,
}

/// A node that needs a signature.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSignInfo {
    /// Its number.
    #[serde(rename = "NodeID")]
    pub node_id: u64,
    /// Its key.
    pub node_public: NodePublic,
    /// The key that may sign its next node keys.
    #[serde(skip_serializing_if = "Base64Bytes::is_empty")]
    pub rotation_pubkey: Base64Bytes,
}

/// A request to switch a lock on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaInitFinishRequest {
    /// The node that asks.
    pub node_key: NodePublic,
    /// The signature of each node, by number.
    pub signatures: BTreeMap<u64, Base64Bytes>,
    /// A secret for whoever runs the server.
    pub support_disablement: Base64Bytes,
}

/// A request for what switches a lock on or off.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaBootstrapRequest {
    /// The node that asks.
    pub node_key: NodePublic,
}

/// What switches a lock on or off.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaBootstrapResponse {
    /// The first update, while it is on.
    #[serde(rename = "GenesisAUM", skip_serializing_if = "Base64Bytes::is_empty")]
    pub genesis: Base64Bytes,
    /// The secret that switched it off.
    #[serde(skip_serializing_if = "Base64Bytes::is_empty")]
    pub disablement_secret: Base64Bytes,
}

/// What a client has of the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSyncOfferRequest {
    /// The node that asks.
    pub node_key: NodePublic,
    /// The hash of its last update.
    pub head: String,
    /// Hashes of some before it.
    pub ancestors: Vec<String>,
}

/// What the server has of the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSyncOfferResponse {
    /// The hash of the last update.
    pub head: String,
    /// Hashes of some before it.
    pub ancestors: Vec<String>,
    /// What the client misses.
    #[serde(rename = "MissingAUMs")]
    pub missing: Vec<Base64Bytes>,
}

/// What a client has and the server has not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSyncSendRequest {
    /// The node that sends.
    pub node_key: NodePublic,
    /// Updates, oldest first.
    #[serde(rename = "MissingAUMs")]
    pub missing: Vec<Base64Bytes>,
    /// Whether a person waits for the outcome.
    pub interactive: bool,
}

/// The log after that.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSyncSendResponse {
    /// The hash of the last update.
    pub head: String,
}

/// A request to switch a lock off.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaDisableRequest {
    /// The node that asks.
    pub node_key: NodePublic,
    /// One of the lock's secrets.
    pub disablement_secret: Base64Bytes,
}

/// A signature of a node key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSubmitSignatureRequest {
    /// The node that sends it.
    pub node_key: NodePublic,
    /// The signature; the key that it is of is in it.
    pub signature: Base64Bytes,
}

/// A request for signatures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSignaturesUsingKeyRequest {
    /// The node that asks.
    pub node_key: NodePublic,
    /// The trusted key that they rest on.
    #[serde(rename = "KeyID")]
    pub key_id: Base64Bytes,
}

/// Signatures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TkaSignaturesUsingKeyResponse {
    /// Those that rest on the key.
    pub signatures: Vec<Base64Bytes>,
}
