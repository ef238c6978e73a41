//! Requests to answer (protocol section 7.8).

use serde::{Deserialize, Serialize};

use crate::is_default;

/// Asks a client to show that it lives, or to do something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PingRequest {
    /// Where to answer; unique.
    #[serde(rename = "URL")]
    pub url: String,
    /// Whether to answer inside Noise.
    #[serde(rename = "URLIsNoise")]
    pub url_is_noise: bool,
    /// Kinds.
    pub types: String,
    /// Whether to log it.
    #[serde(skip_serializing_if = "is_default")]
    pub log: bool,
}
