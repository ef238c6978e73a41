//! What a client is told whose node is gone.

use bowline_control_wire::{Debug, DerpMap, MapResponse, Node, SshPolicy};
use bowline_ids::{NodeId, StableNodeId, UserId};
use bowline_keys::{MachinePublic, NodePublic};
use chrono::{DateTime, Utc};

use super::filter;

/// Returns the message that makes a client ask its person to log in: its key has ended, and it knows nobody.
///
/// No status of an answer does that: a client that gets none but errors tries again for ever and looks connected.
#[must_use]
pub fn build_node_gone(
    id: NodeId,
    key: NodePublic,
    machine: Option<MachinePublic>,
    derp_map: &DerpMap,
    now: DateTime<Utc>,
) -> MapResponse {
    let node = Node {
        id: id.get(),
        stable_id: StableNodeId::from(id).to_string(),
        name: format!("n{id}."),
        user: UserId::TAGGED_DEVICES.get(),
        key,
        key_expiry: DateTime::from_timestamp(123, 0),
        machine,
        machine_authorized: true,
        ..Node::default()
    };
    MapResponse {
        node: Some(node),
        derp_map: Some(derp_map.clone()),
        collect_services: Some(false),
        packet_filters: filter::replace_all(filter::deny_all()),
        ssh_policy: Some(SshPolicy::default()),
        control_time: Some(now),
        debug: Some(Debug {
            disable_log_tail: true,
        }),
        ..MapResponse::default()
    }
}
