//! Map responses (protocol section 7).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    DerpMap, DnsConfig, FilterRule, Node, PeerChange, PingRequest, SshPolicy, TkaInfo, UserProfile,
    is_default,
};

/// One message of a map session; absent means unchanged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MapResponse {
    /// True in a message that only shows that the server is alive.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_alive: bool,
    /// A request that the client answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_request: Option<PingRequest>,
    /// The client's own node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// Relays.
    #[serde(rename = "DERPMap", skip_serializing_if = "Option::is_none")]
    pub derp_map: Option<DerpMap>,
    /// All peers. An empty list changes nothing: name lost peers in `peers_removed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Node>,
    /// Peers to add or replace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_changed: Vec<Node>,
    /// Peers to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_removed: Vec<u64>,
    /// Peers to change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers_changed_patch: Vec<PeerChange>,
    /// Peers whose `Online` changes, for clients without patches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub online_change: BTreeMap<u64, bool>,
    /// DNS settings.
    #[serde(rename = "DNSConfig", skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,
    /// Resolvers, for clients before 9.
    #[serde(rename = "DNS", skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
    /// Search domains, for clients before 9.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_paths: Vec<String>,
    /// The network's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Whether to report services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect_services: Option<bool>,
    /// The whole filter, for clients before `PacketFilters`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_filter: Option<Vec<FilterRule>>,
    /// Named filter chunks; `null` deletes one, `*` with `null` all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub packet_filters: BTreeMap<String, Option<Vec<FilterRule>>>,
    /// New or changed profiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user_profiles: Vec<UserProfile>,
    /// Warnings, for clients before `DisplayMessages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Vec<String>>,
    /// Messages to show; `null` withdraws one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub display_messages: BTreeMap<String, Option<DisplayMessage>>,
    /// SSH policy.
    #[serde(rename = "SSHPolicy", skip_serializing_if = "Option::is_none")]
    pub ssh_policy: Option<SshPolicy>,
    /// Tailnet lock; absent in the first message: off, later: unchanged.
    #[serde(rename = "TKAInfo", skip_serializing_if = "Option::is_none")]
    pub tka_info: Option<TkaInfo>,
    /// The server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_time: Option<DateTime<Utc>>,
    /// Settings that switch parts of the client on or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<Debug>,
}

/// Settings that switch parts of a client on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Debug {
    /// Whether the client stops uploading its logs.
    pub disable_log_tail: bool,
}

/// A message to show to the person at the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DisplayMessage {
    /// Headline.
    pub title: String,
    /// What is wrong and what to do.
    pub text: String,
    /// `high`, `medium` or `low`.
    pub severity: String,
}
