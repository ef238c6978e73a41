//! Packet filters (protocol section 8.5).

use serde::{Deserialize, Serialize};

use crate::{CapMap, cap_map, is_default};

/// One rule: it only allows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FilterRule {
    /// Sources.
    #[serde(rename = "SrcIPs")]
    pub src_ips: Vec<String>,
    /// Prefix lengths of the sources, for clients before 7 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub src_bits: Vec<u8>,
    /// Destinations with ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dst_ports: Vec<NetPortRange>,
    /// Protocol numbers; empty for the default set.
    #[serde(rename = "IPProto", skip_serializing_if = "Vec::is_empty")]
    pub ip_proto: Vec<u32>,
    /// Application grants; exclusive with destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_grant: Vec<CapGrant>,
}

/// A destination with ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetPortRange {
    /// Address, prefix, range, or `*`.
    #[serde(rename = "IP")]
    pub ip: String,
    /// Prefix length, for clients before 7 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Ports.
    pub ports: PortRange,
}

/// Ports from first to last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortRange {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

/// An application grant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CapGrant {
    /// Where it is granted, prefixes.
    pub dsts: Vec<String>,
    /// Capabilities.
    #[serde(serialize_with = "cap_map::write_cap_map")]
    pub cap_map: CapMap,
    /// Capability names, for clients before 67 only.
    #[serde(skip_serializing_if = "is_default")]
    pub caps: Vec<String>,
}
