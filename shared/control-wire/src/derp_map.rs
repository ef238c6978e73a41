//! Relay maps (protocol section 8.9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::is_default;

/// All relays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DerpMap {
    /// Regions by number.
    #[serde(rename = "Regions")]
    pub regions: BTreeMap<u32, DerpRegion>,
    /// Whether the client's built-in regions are left out.
    #[serde(rename = "omitDefaultRegions", skip_serializing_if = "is_default")]
    pub omit_default_regions: bool,
}

/// A region: relays that know of each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpRegion {
    /// Number.
    #[serde(rename = "RegionID")]
    pub region_id: u32,
    /// Short name.
    pub region_code: String,
    /// Long name.
    pub region_name: String,
    /// Whether it is used only when nothing else is left.
    #[serde(skip_serializing_if = "is_default")]
    pub avoid: bool,
    /// Whether it may not become a home.
    #[serde(skip_serializing_if = "is_default")]
    pub no_measure_no_home: bool,
    /// Relays.
    pub nodes: Vec<DerpNode>,
}

/// A relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DerpNode {
    /// Unique name.
    pub name: String,
    /// Its region.
    #[serde(rename = "RegionID")]
    pub region_id: u32,
    /// Host name.
    pub host_name: String,
    /// Expected certificate name, or `sha256-raw:` and the hash of the certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_name: String,
    /// Address; empty: by DNS.
    #[serde(rename = "IPv4", skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// Address; empty: by DNS; `none`: off.
    #[serde(rename = "IPv6", skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
    /// STUN port; zero: 3478; -1: none.
    #[serde(rename = "STUNPort", skip_serializing_if = "is_default")]
    pub stun_port: i32,
    /// Whether it only answers STUN.
    #[serde(rename = "STUNOnly", skip_serializing_if = "is_default")]
    pub stun_only: bool,
    /// TLS port; zero: 443.
    #[serde(rename = "DERPPort", skip_serializing_if = "is_default")]
    pub derp_port: u16,
    /// Whether the certificate is not verified.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_for_tests: bool,
}
