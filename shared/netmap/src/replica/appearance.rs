//! Whether a node looks to others as it did before.

use bowline_proto::key_registry::v1::{Endpoint, SoftState};

use crate::view::ShownNode;

/// Says whether anybody is told of a difference between the two: the numbers of batches and sessions are nobody's
/// business, nor what only the policy judges.
pub(super) fn appear_equal(was: &ShownNode, now: &ShownNode) -> bool {
    (was.class, was.settings, was.offered) == (now.class, now.settings, now.offered)
        && (was.node == now.node || nodes_appear_equal(was, now))
        && (was.soft == now.soft || soft_states_appear_equal(&was.soft, &now.soft))
}

/// Says so of hard state: only what nobody is told is named here, so that a new field counts as a difference.
fn nodes_appear_equal(was: &ShownNode, now: &ShownNode) -> bool {
    let mut node = (*was.node).clone();
    node.name_chosen = now.node.name_chosen;
    node.ephemeral = now.node.ephemeral;
    node.shared_key.clone_from(&now.node.shared_key);
    node.client_version.clone_from(&now.node.client_version);
    node.requested_tags.clone_from(&now.node.requested_tags);
    node.os_version.clone_from(&now.node.os_version);
    node.auto_update = now.node.auto_update;
    node.state_encrypted = now.node.state_encrypted;
    node.attributes.clone_from(&now.node.attributes);
    node.tagged_by = now.node.tagged_by;
    node.administrator_routes
        .clone_from(&now.node.administrator_routes);
    node.machine_shared_with = now.node.machine_shared_with;
    node.denied = now.node.denied;
    node.lock_key.clone_from(&now.node.lock_key);
    node.key_never_expires = now.node.key_never_expires;
    node.rotation_interval = now.node.rotation_interval;
    node == *now.node
}

/// Says so of soft state: what peers are told is named here.
fn soft_states_appear_equal(was: &SoftState, now: &SoftState) -> bool {
    let address = |endpoint: &Endpoint| endpoint.address.clone();
    let seen = |soft: &SoftState| soft.last_seen.filter(|_| !soft.online);
    (was.online, was.home_derp, was.capability_version)
        == (now.online, now.home_derp, now.capability_version)
        && was.disco_key == now.disco_key
        && was.hostinfo == now.hostinfo
        && seen(was) == seen(now)
        && was
            .endpoints
            .iter()
            .map(address)
            .eq(now.endpoints.iter().map(address))
}
