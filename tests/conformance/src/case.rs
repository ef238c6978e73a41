//! A recorded case: a policy, a small tailnet, and of what was told only the facts that describe the tailnet.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// One line of a file of cases.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The document, byte for byte.
    pub policy: String,
    /// Users and nodes.
    pub topology: Topology,
    /// What was recorded for each node; only facts about the tailnet are read from it.
    #[serde(default)]
    pub expect: BTreeMap<String, Recorded>,
    /// Settings beside the policy.
    #[serde(default)]
    pub tailnet_settings: TailnetSettings,
}

/// Users and nodes.
#[derive(Debug, Deserialize)]
pub struct Topology {
    /// The users.
    pub users: Vec<User>,
    /// The nodes by name.
    pub nodes: BTreeMap<String, Node>,
}

/// A user.
#[derive(Debug, Deserialize)]
pub struct User {
    /// Number.
    pub id: u64,
    /// Short name, by which nodes refer to it.
    pub name: String,
    /// Login name.
    pub email: String,
}

/// A node.
#[derive(Debug, Deserialize)]
pub struct Node {
    /// Its tags.
    #[serde(default, deserialize_with = "nullable")]
    pub tags: Vec<String>,
    /// Its user's short name, without tags.
    pub user: Option<String>,
    /// IPv4 address.
    pub ipv4: String,
    /// IPv6 address.
    pub ipv6: String,
    /// Routes it advertises.
    #[serde(default, deserialize_with = "nullable")]
    pub routable_ips: Vec<String>,
    /// Routes that are approved.
    #[serde(default, deserialize_with = "nullable")]
    pub approved_routes: Vec<String>,
}

/// What was recorded for a node.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// The node itself.
    #[serde(rename = "self")]
    pub own: RecordedSelf,
}

/// A node as it was told of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RecordedSelf {
    /// When it was registered: nodes are numbered in this order.
    pub created: DateTime<Utc>,
    /// Routes it was the router of: approved, whatever the topology says.
    #[serde(default)]
    pub primary_routes: Option<Vec<String>>,
    /// Capabilities, which show the roles of users.
    #[serde(default)]
    pub cap_map: Option<BTreeMap<String, serde_json::Value>>,
}

/// Settings beside the policy.
#[derive(Debug, Default, Deserialize)]
pub struct TailnetSettings {
    /// The switches.
    #[serde(default)]
    pub settings: Switches,
}

/// Switches of a tailnet.
#[derive(Debug, Default, Deserialize)]
pub struct Switches {
    /// Whether devices update themselves.
    #[serde(default)]
    pub devices_auto_updates_on: bool,
}

/// Reads a list that may be null.
fn nullable<'d, D: Deserializer<'d>>(input: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}
