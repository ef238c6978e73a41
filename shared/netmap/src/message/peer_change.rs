//! How a peer that a node saw before differs for everybody who sees it.

use std::sync::Arc;

use bowline_control_wire::{Base64Bytes, CapabilityVersion, PeerChange};
use bowline_keys::NodePublic;
use bowline_proto::{
    key_registry::v1::{Endpoint, SoftState},
    time::from_timestamp,
};

use super::node::{capability_version, disco_key};
use crate::ShownNode;

/// How a peer that is seen before and now differs.
pub(crate) enum PeerDifference {
    /// There is nothing to tell.
    Same,
    /// A patch tells it.
    Fields(Box<PeerChange>),
    /// The peer has to be told as a whole.
    Whole,
}

/// Compares what everybody sees alike of a peer.
pub(crate) fn compare_shared_facts(was: &ShownNode, now: &ShownNode) -> PeerDifference {
    let (soft_was, soft) = (&was.soft, &now.soft);
    if Arc::ptr_eq(&was.node, &now.node) && Arc::ptr_eq(soft_was, soft) {
        return PeerDifference::Same;
    }
    let has_other_facts = !Arc::ptr_eq(&was.node, &now.node) && was.node != now.node;
    if has_other_facts {
        let mut rest = (*was.node).clone();
        rest.node_key.clone_from(&now.node.node_key);
        rest.key_expiry = now.node.key_expiry;
        let loses_signature = now.node.key_signature.is_empty();
        if !loses_signature {
            rest.key_signature.clone_from(&now.node.key_signature);
        }
        rest.lock_key.clone_from(&now.node.lock_key);
        // Peers are told only when the key ends.
        rest.rotation.clone_from(&now.node.rotation);
        if rest != *now.node || now.node.key_expiry.is_none() && was.node.key_expiry.is_some() {
            return PeerDifference::Whole;
        }
    }
    let emptied = |was: bool, now: bool| !was && now;
    if soft_was.hostinfo != soft.hostinfo
        || emptied(soft_was.endpoints.is_empty(), soft.endpoints.is_empty())
        || emptied(soft_was.disco_key.is_empty(), soft.disco_key.is_empty())
        || emptied(soft_was.home_derp == 0, soft.home_derp == 0)
        || loses_last_seen(soft_was, soft)
    {
        return PeerDifference::Whole;
    }
    let mut change = PeerChange {
        node_id: now.node.id,
        ..PeerChange::default()
    };
    if was.node.node_key != now.node.node_key {
        change.key = NodePublic::try_from(&*now.node.node_key).ok();
    }
    if was.node.key_signature != now.node.key_signature {
        change.key_signature = Some(Base64Bytes(now.node.key_signature.clone()));
    }
    if was.node.key_expiry != now.node.key_expiry {
        change.key_expiry = now.node.key_expiry.and_then(from_timestamp);
    }
    if soft_was.home_derp != soft.home_derp {
        change.derp_region = soft.home_derp;
    }
    if soft_was.capability_version != soft.capability_version {
        change.cap = capability_version(soft.capability_version);
    }
    let addresses = |endpoints: &[Endpoint]| -> Vec<String> {
        endpoints
            .iter()
            .map(|endpoint| endpoint.address.clone())
            .collect()
    };
    if addresses(&soft_was.endpoints) != addresses(&soft.endpoints) {
        change.endpoints = addresses(&soft.endpoints);
    }
    if soft_was.disco_key != soft.disco_key {
        change.disco_key = disco_key(&soft.disco_key);
    }
    if soft_was.online != soft.online {
        change.online = Some(soft.online);
    }
    if (soft_was.online, soft_was.last_seen) != (soft.online, soft.last_seen) {
        change.last_seen = soft
            .last_seen
            .filter(|_| !soft.online)
            .and_then(from_timestamp);
    }
    if has_content(&change) {
        PeerDifference::Fields(Box::new(change))
    } else {
        PeerDifference::Same
    }
}

/// Says whether a node that was told with a time when it was last seen has none any more: a patch can not take it away.
fn loses_last_seen(was: &SoftState, now: &SoftState) -> bool {
    !was.online && was.last_seen.is_some() && !now.online && now.last_seen.is_none()
}

/// Says whether a patch has any of the fields that are set above.
fn has_content(change: &PeerChange) -> bool {
    change.key.is_some()
        || change.key_signature.is_some()
        || change.key_expiry.is_some()
        || change.derp_region != 0
        || change.cap != CapabilityVersion::default()
        || !change.endpoints.is_empty()
        || change.disco_key.is_some()
        || change.online.is_some()
        || change.last_seen.is_some()
}
