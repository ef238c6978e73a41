//! Requests to answer (protocol section 7.8).

use serde::{Deserialize, Serialize};

use crate::is_default;

/// Asks a client to show that it is alive, or to run a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PingRequest {
    /// The URL the client calls; another one in each request.
    #[serde(rename = "URL")]
    pub url: String,
    /// Whether the client calls it inside its Noise connection.
    #[serde(rename = "URLIsNoise")]
    pub url_is_noise: bool,
    /// The kinds of check, separated by commas; empty: only call the URL.
    pub types: String,
    /// Whether the client logs the request.
    #[serde(skip_serializing_if = "is_default")]
    pub log: bool,
}
