//! Field-level changes of a peer (protocol section 7.3).

use bowline_keys::{DiscoPublic, NodePublic};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Base64Bytes, CapMap, CapabilityVersion, cap_map, is_default};

/// What changed of one peer; absent means unchanged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeerChange {
    /// The peer.
    #[serde(rename = "NodeID")]
    pub node_id: u64,
    /// Home region; zero: unchanged.
    #[serde(rename = "DERPRegion", skip_serializing_if = "is_default")]
    pub derp_region: u32,
    /// Capability version; zero: unchanged.
    #[serde(skip_serializing_if = "is_default")]
    pub cap: CapabilityVersion,
    /// Capabilities.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "cap_map::write_optional_cap_map"
    )]
    pub cap_map: Option<CapMap>,
    /// Capability names for clients before `CapMap` in patches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// UDP candidates, never empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Node key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<NodePublic>,
    /// Signature of the node key, for tailnet lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_signature: Option<Base64Bytes>,
    /// Path-discovery key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disco_key: Option<DiscoPublic>,
    /// Whether it is connected to control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// When it was last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<DateTime<Utc>>,
    /// The key's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<DateTime<Utc>>,
}
