//! Frames that need nothing of a session but what it was told.

use std::{sync::Arc, time::Duration};

use bowline_control_wire::{FrameError, MapResponse};
use bowline_ids::NodeId;
use bowline_netmap::{ChangeSet, Dialect, View, build_full, lost_peers};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{listener::spread_fraction, tailnet::Tailnet};

/// The longest silence, before jitter: a client gives up after 120 s.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(50);

/// What a client knows that is told everything.
pub(super) enum EarlierKnowledge {
    /// Nothing: its stream begins.
    Nothing,
    /// What it was told before these changes.
    Before(Arc<ChangeSet>),
    /// More than can be said: it fell behind the changes that are kept.
    Unknown,
}

/// Returns a frame that says everything; `None` when nothing can be said so.
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
    // A list without peers says nothing.
    if message.peers.is_empty() {
        match earlier {
            EarlierKnowledge::Nothing => {}
            EarlierKnowledge::Before(changes) => {
                message.peers_removed = lost_peers(view, changes, node)
            }
            // The client's next stream begins without any.
            EarlierKnowledge::Unknown => return Ok(None),
        }
    }
    dialect.encode(message).map(Some)
}

/// Says whether nothing of a message is about the client itself.
pub(super) fn is_of_others(message: &MapResponse) -> bool {
    message.node.is_none() && message.packet_filters.is_empty() && message.ssh_policy.is_none()
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

/// Returns the longest silence towards a node, different for neighbours.
pub fn longest_silence(node: NodeId) -> Duration {
    KEEP_ALIVE + Duration::from_secs(9).mul_f64(spread_fraction(node.get()))
}
