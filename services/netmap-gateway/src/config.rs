//! The gateway's settings.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::tailnet::Sources;

/// The `[gateway]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The URL clients were given, without a trailing slash: what auth URLs begin with. `bowline serve` finds one
    /// by itself when it is empty.
    pub public_url: String,
    /// TLS certificate chain (PEM); without one the listener speaks plain HTTP.
    pub certificate_file: Option<PathBuf>,
    /// TLS private key (PEM).
    pub key_file: Option<PathBuf>,
    /// The directory with the control keys: `noise.key`, `legacy.key`, and `*.previous.key` while rolling.
    pub control_keys: PathBuf,
    /// Clients that speak both transports are offered a zero Noise key below this capability version, so that they
    /// use crypto_box; zero: never.
    pub nacl_below: u16,
    /// Whether crypto_box requests are served without TLS: nothing then protects them from replay at another gateway.
    pub plain_http_boxes: bool,
    /// The DERP map's file (JSON); without one the map has the relay of this process, if any.
    pub derp_map_file: Option<PathBuf>,
    /// The token in `/verify/<token>`, where relays ask whom they may serve; without one the page is off.
    pub verify_token: Option<String>,
    /// How packet filters name the nodes that may send: `addresses`, or `capabilities`, which are shorter and change
    /// less in tailnets where many nodes share rules.
    pub filter_sources: Sources,
    /// How long known nodes are readmitted while the registry can not be reached, in seconds.
    pub max_staleness_seconds: u64,
    /// The most connections at once.
    pub max_connections: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            public_url: String::new(),
            certificate_file: None,
            key_file: None,
            control_keys: PathBuf::from("control-keys"),
            nacl_below: 0,
            plain_http_boxes: false,
            derp_map_file: None,
            verify_token: None,
            filter_sources: Sources::Addresses,
            max_staleness_seconds: 3600,
            max_connections: 16_384,
        }
    }
}

impl GatewayConfig {
    /// Returns how long known nodes are readmitted while the registry can not be reached.
    #[must_use]
    pub fn max_staleness(&self) -> Duration {
        Duration::from_secs(self.max_staleness_seconds)
    }
}
