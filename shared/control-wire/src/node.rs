//! A node as clients see it (protocol section 8.1).

use std::collections::BTreeMap;

use bowline_keys::{DiscoPublic, MachinePublic, NodePublic};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Base64Bytes, CapMap, CapabilityVersion, Hostinfo, cap_map, is_default};

/// A node: the client's own, or a peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// Number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// Stable name.
    #[serde(rename = "StableID")]
    pub stable_id: String,
    /// Stable name of the tailnet; only on the client's own node.
    #[serde(rename = "StableTailnetID", skip_serializing_if = "String::is_empty")]
    pub stable_tailnet_id: String,
    /// MagicDNS name with a trailing dot.
    pub name: String,
    /// Owner.
    pub user: u64,
    /// Node key.
    pub key: NodePublic,
    /// When the node key ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<DateTime<Utc>>,
    /// Signature of the node key, for tailnet lock.
    #[serde(skip_serializing_if = "Base64Bytes::is_empty")]
    pub key_signature: Base64Bytes,
    /// Machine key; sent only with the client's own node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachinePublic>,
    /// Path-discovery key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disco_key: Option<DiscoPublic>,
    /// Own addresses as prefixes, IPv4 then IPv6.
    pub addresses: Vec<String>,
    /// The addresses, and the routes through this node that the receiving client may use.
    #[serde(rename = "AllowedIPs")]
    pub allowed_ips: Vec<String>,
    /// UDP candidates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Home region.
    #[serde(rename = "HomeDERP", skip_serializing_if = "is_default")]
    pub home_derp: u32,
    /// Home region as clients before `HomeDERP` read it.
    #[serde(rename = "DERP", skip_serializing_if = "Option::is_none")]
    pub derp: Option<String>,
    /// The host, reduced for peers.
    pub hostinfo: Hostinfo,
    /// When the node was registered first.
    pub created: DateTime<Utc>,
    /// Capability version.
    #[serde(skip_serializing_if = "is_default")]
    pub cap: CapabilityVersion,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Routes it is the active router of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub primary_routes: Vec<String>,
    /// When it was last seen; only while offline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<DateTime<Utc>>,
    /// Whether it is connected to control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// Whether the node may take part; false while it waits for an administrator's approval.
    pub machine_authorized: bool,
    /// Capability names for clients before `CapMap`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Capabilities.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "cap_map::write_cap_map"
    )]
    pub cap_map: CapMap,
    /// Whether its key has ended.
    #[serde(skip_serializing_if = "is_default")]
    pub expired: bool,
}
