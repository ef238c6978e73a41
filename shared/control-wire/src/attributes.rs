//! Attributes that a node sets for itself (protocol section 4.7).

use std::collections::BTreeMap;

use bowline_keys::NodePublic;
use serde::Deserialize;
use serde_json::Value;

/// A request to change a node's own attributes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SetDeviceAttributesRequest {
    /// The node that asks.
    pub node_key: NodePublic,
    /// By name: a text, a number, true, false, or `null` to remove it.
    pub update: BTreeMap<String, Value>,
}
