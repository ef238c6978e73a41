//! Frames that need no state of a session.

use std::{sync::Arc, time::Duration};

use bowline_control_wire::{FrameError, MapResponse, dialect};
use bowline_ids::NodeId;
use bowline_netmap::{ChangeSet, Dialect, View, build_full, lost_peers};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{listener::spread_fraction, tailnet::Tailnet};

/// The longest time without a frame, before jitter: a client gives up after 120 s.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(50);

/// What a client knows already when it is sent a full map.
pub(super) enum EarlierKnowledge {
    /// Nothing: its stream begins.
    Nothing,
    /// The network as it was before these changes.
    Before(Arc<ChangeSet>),
    /// Something older than the changes that are kept.
    Unknown,
}

/// Encodes a full map; `None` when the node is not there, or when the map could not say that all peers are gone.
pub(super) fn encode_everything(
    tailnet: &Tailnet,
    view: &View,
    node: NodeId,
    dialect: Dialect,
    now: DateTime<Utc>,
    earlier: &EarlierKnowledge,
) -> Result<Option<Bytes>, FrameError> {
    let relays = tailnet.derp_map.load();
    let shared = tailnet
        .blocks
        .first_frame(view, node, &relays, dialect, now)?;
    if shared.is_some() {
        return Ok(shared);
    }
    let Some(mut message) = build_full(view, node, &relays, now) else {
        return Ok(None);
    };
    // Clients ignore an empty list of peers, so peers that are gone have to be named.
    if message.peers.is_empty() {
        match earlier {
            EarlierKnowledge::Nothing => {}
            EarlierKnowledge::Before(changes) => {
                message.peers_removed = lost_peers(view, changes, node)
            }
            // Nobody knows which peers the client has. Its stream ends, and the next begins without peers.
            EarlierKnowledge::Unknown => return Ok(None),
        }
    }
    dialect.encode(message).map(Some)
}

/// Says whether a message has parts that are the client's own, and not the same for its whole class.
pub(super) fn has_own_parts(message: &MapResponse) -> bool {
    message.node.is_some() || !message.packet_filters.is_empty() || message.ssh_policy.is_some()
}

/// Says whether a client reads a difference as it is meant.
pub(super) fn is_understood(message: &MapResponse, spoken: Dialect) -> bool {
    let version = spoken.version;
    !dialect::needs_full_messages(version)
        && (dialect::takes_filter_chunks(version) || message.packet_filters.is_empty())
        && (dialect::takes_patches(version) || message.peers_changed_patch.is_empty())
}

/// Returns a sign of life.
///
/// # Errors
///
/// When it can not be encoded.
pub fn keep_alive(dialect: Dialect) -> Result<Bytes, FrameError> {
    dialect.encode(MapResponse {
        keep_alive: true,
        ..MapResponse::default()
    })
}

/// Returns the longest time without a frame for a node. It differs from node to node, so that keep-alives are spread.
pub fn longest_silence(node: NodeId) -> Duration {
    KEEP_ALIVE + Duration::from_secs(9).mul_f64(spread_fraction(node.get()))
}
