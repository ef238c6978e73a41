//! Map requests (protocol section 6).

use bowline_keys::{DiscoPublic, NodePublic};
use serde::{Deserialize, Serialize};

use crate::{CapabilityVersion, Hostinfo, bounded::read_at_most};

/// A request for the netmap, a report of the host's state, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MapRequest {
    /// The capability version: gates the response.
    pub version: CapabilityVersion,
    /// `zstd` or empty; applies to every frame of the response.
    pub compress: String,
    /// Whether the client wants keep-alives.
    pub keep_alive: bool,
    /// The node.
    pub node_key: NodePublic,
    /// Path-discovery key, or zero.
    pub disco_key: DiscoPublic,
    /// Whether to hold a long poll.
    pub stream: bool,
    /// The host.
    pub hostinfo: Option<Hostinfo>,
    /// UDP candidates.
    #[serde(deserialize_with = "read_at_most::<1000, _, _>")]
    pub endpoints: Vec<String>,
    /// Their kinds, parallel.
    #[serde(deserialize_with = "read_at_most::<1000, _, _>")]
    pub endpoint_types: Vec<u32>,
    /// Whether nothing of the request is stored.
    pub read_only: bool,
    /// Whether the client does without peers in the answer; without `stream` it marks a report.
    pub omit_peers: bool,
}

impl MapRequest {
    /// Says whether the client wants its frames compressed.
    #[must_use]
    pub fn wants_zstd(&self) -> bool {
        self.compress == "zstd" || self.version < CapabilityVersion::OPT_IN_KEEP_ALIVE
    }

    /// Says whether the request reports the host's state (protocol section 6.1).
    #[must_use]
    pub fn is_report(&self) -> bool {
        if self.stream {
            self.version < CapabilityVersion::STREAM_IS_NO_UPDATE && !self.read_only
        } else {
            self.omit_peers && !self.read_only
        }
    }
}
