//! What a host says about itself (protocol sections 8.2 and 8.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{bounded::read_at_most, is_default};

/// A host's description of itself; also, reduced, what its peers see of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Hostinfo {
    /// Client version.
    #[serde(rename = "IPNVersion", skip_serializing_if = "String::is_empty")]
    pub ipn_version: String,
    /// Operating system.
    #[serde(rename = "OS", skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Its version.
    #[serde(rename = "OSVersion", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Linux distribution.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub distro: String,
    /// Model of the device.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device_model: String,
    /// Program, for an embedded client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// The host's own name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Whether inbound connections are blocked.
    #[serde(skip_serializing_if = "is_default")]
    pub shields_up: bool,
    /// Whether the client lets itself be updated.
    #[serde(skip_serializing_if = "is_default")]
    pub allows_update: bool,
    /// Whether the client keeps its keys encrypted; `None` where it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_encrypted: Option<bool>,
    /// Advertised routes.
    #[serde(
        rename = "RoutableIPs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read_at_most::<1000, _, _>"
    )]
    pub routable_ips: Vec<String>,
    /// Tags asked for.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read_at_most::<100, _, _>"
    )]
    pub request_tags: Vec<String>,
    /// Services offered.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read_at_most::<100, _, _>"
    )]
    pub services: Vec<Service>,
    /// Network conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net_info: Option<NetInfo>,
    /// SSH host keys; non-empty: runs SSH.
    #[serde(
        rename = "sshHostKeys",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "read_at_most::<100, _, _>"
    )]
    pub ssh_host_keys: Vec<String>,
    /// The geographic place of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// A service a host offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// `tcp`, `udp`, or a meta service such as `peerapi4`.
    pub proto: String,
    /// Port.
    pub port: u16,
    /// Process or other description.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Network conditions as the client measures them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetInfo {
    /// Home region, zero for none.
    #[serde(rename = "PreferredDERP")]
    pub preferred_derp: u32,
    /// Whether UDP works.
    #[serde(rename = "WorkingUDP", skip_serializing_if = "Option::is_none")]
    pub working_udp: Option<bool>,
    /// Whether IPv6 works.
    #[serde(rename = "WorkingIPv6", skip_serializing_if = "Option::is_none")]
    pub working_ipv6: Option<bool>,
    /// Whether the NAT maps by destination.
    #[serde(
        rename = "MappingVariesByDestIP",
        skip_serializing_if = "Option::is_none"
    )]
    pub mapping_varies_by_dest_ip: Option<bool>,
    /// Seconds to each region, `<region>-v4` or `-v6`.
    #[serde(rename = "DERPLatency", skip_serializing_if = "BTreeMap::is_empty")]
    pub derp_latency: BTreeMap<String, f64>,
}

/// A geographic place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Location {
    /// Country name.
    pub country: String,
    /// Two letters.
    pub country_code: String,
    /// City name.
    pub city: String,
    /// City code.
    pub city_code: String,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// Preference among exit nodes.
    pub priority: i64,
}
