//! Nodes as a client sees them.

use std::sync::Arc;

use bowline_control_wire::{Base64Bytes, CapMap, CapabilityVersion, Hostinfo, Node, plain_text};
use bowline_ids::{StableNodeId, StableTailnetId, TailnetId, UserId};
use bowline_keys::{DiscoPublic, MachinePublic, NodePublic};
use bowline_proto::{policy::v1::Capability, time::from_timestamp};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::{profile::owner_id, viewer::Viewer};
use crate::{ShownNode, SourceListKey, View, view::PeerContext};

/// The two routes of an exit node.
pub(crate) const EXIT_ROUTES: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Capabilities of every node, whatever the policy says (protocol section 8.8).
const CAPABILITIES: [&str; 6] = [
    "https://tailscale.com/cap/file-sharing",
    "https://tailscale.com/cap/ssh",
    // Without it a client heeds no tailnet lock.
    "https://tailscale.com/cap/tailnet-lock",
    "probe-udp-lifetime",
    "ssh-behavior-v1",
    "ssh-env-vars",
];

/// Says to the client whether to update itself, unless its user chose.
const AUTO_UPDATE: &str = "default-auto-update";

/// Says to the client for how many seconds a node key works at most.
const MAX_KEY_DURATION: &str = "tailnet.maxKeyDuration";

/// Returns a peer as a node is told of it.
pub(crate) fn peer_node(viewer: Viewer<'_>, shown: &ShownNode) -> Node {
    let (at, node) = (viewer.at, &shown.node);
    let online = shown.soft.online;
    let addresses = addresses(shown, viewer.hides_ipv4_of(shown));
    let routes = viewer.routes_through(shown);
    let mut allowed_ips = addresses.clone();
    allowed_ips.extend(routes.iter().cloned());
    let settings = at.settings(shown.settings);
    let mut capabilities = settings.map_or_else(CapMap::new, |set| cap_map(&set.peer_capabilities));
    for list in viewer.filter_lists_with(shown) {
        capabilities.insert(source_capability(list), Some(Vec::new()));
    }
    Node {
        addresses,
        allowed_ips,
        endpoints: shown
            .soft
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.clone())
            .collect(),
        primary_routes: routes
            .into_iter()
            .filter(|route| !EXIT_ROUTES.contains(&route.as_str()))
            .collect(),
        hostinfo: hostinfo(shown),
        online: Some(online),
        last_seen: shown
            .soft
            .last_seen
            .filter(|_| !online)
            .and_then(from_timestamp),
        machine_authorized: node.is_authorized(),
        cap_map: capabilities,
        expired: node.expired,
        ..common_fields(at.view, shown)
    }
}

/// Appends a peer as a node is told of it that sees it just as its whole class does. Without routes it looks the same to all of
/// them, and is encoded once.
pub(crate) fn append_peer(
    viewer: Viewer<'_>,
    shown: &ShownNode,
    json: &mut Vec<u8>,
) -> serde_json::Result<()> {
    if shown.usable_routes().next().is_some() {
        return serde_json::to_writer(json, &peer_node(viewer, shown));
    }
    let view = viewer.at.view;
    let context = PeerContext {
        tailnet: Arc::clone(&view.tailnet),
        settings: view.compiled.settings.get(&shown.settings).cloned(),
    };
    let encode = || serde_json::to_vec(&peer_node(viewer, shown));
    let encoded = shown.encoded.get_or_encode(context, encode)?;
    json.extend_from_slice(&encoded);
    Ok(())
}

/// Returns the capability that stands for a source list: opaque, and seen only where a filter uses it.
pub(crate) fn source_capability(list: SourceListKey) -> String {
    let SourceListKey { list, user } = list;
    let user = user.map_or(0, UserId::get);
    format!("bowline.internal/source/{list:016x}-{user:x}")
}

/// Returns the client's own node.
pub(crate) fn own_node(viewer: Viewer<'_>, now: DateTime<Utc>) -> Node {
    let shown = viewer.own;
    let node = &shown.node;
    let addresses = addresses(shown, viewer.hides_ipv4_of(shown));
    let mut allowed_ips = addresses.clone();
    allowed_ips.extend(shown.usable_routes().cloned());
    let key_expiry = node.key_expiry.and_then(from_timestamp);
    let settings = viewer.at.settings(shown.settings);
    let mut capabilities = settings.map_or_else(CapMap::new, |set| cap_map(&set.capabilities));
    for name in CAPABILITIES {
        capabilities.entry(name.to_owned()).or_default();
    }
    if let Some(updates) = viewer.at.view.tailnet.auto_update {
        let value = RawValue::from_string(updates.to_string()).ok();
        capabilities.insert(AUTO_UPDATE.to_owned(), Some(value.into_iter().collect()));
    }
    let rotation = node.rotation.as_ref();
    if let Some(interval) = rotation.and_then(|rotation| rotation.interval) {
        let value = RawValue::from_string(interval.seconds.to_string()).ok();
        capabilities.insert(
            MAX_KEY_DURATION.to_owned(),
            Some(value.into_iter().collect()),
        );
    }
    Node {
        addresses,
        allowed_ips,
        stable_tailnet_id: TailnetId::try_from(viewer.at.view.tailnet.id)
            .map(|id| StableTailnetId::from(id).to_string())
            .unwrap_or_default(),
        machine: MachinePublic::try_from(&*node.machine_key).ok(),
        // A client believes only an end that has passed by its clock.
        key_expiry: match key_expiry {
            _ if !node.expired => key_expiry,
            Some(end) if end < now => Some(end),
            _ => DateTime::from_timestamp(123, 0),
        },
        primary_routes: node.primary_routes.clone(),
        hostinfo: hostinfo(shown),
        online: Some(true),
        machine_authorized: node.is_authorized(),
        cap_map: capabilities,
        ..common_fields(viewer.at.view, shown)
    }
}

/// Returns what does not depend on who looks.
fn common_fields(view: &View, shown: &ShownNode) -> Node {
    let (node, soft) = (&shown.node, &shown.soft);
    Node {
        id: shown.id.get(),
        stable_id: StableNodeId::from(shown.id).to_string(),
        name: plain_text(&format!("{}.{}.", node.name, view.tailnet.magic_dns_suffix)),
        user: owner_id(node).get(),
        key: NodePublic::try_from(&*node.node_key).unwrap_or_default(),
        key_expiry: node.key_expiry.and_then(from_timestamp),
        key_signature: Base64Bytes(node.key_signature.clone()),
        disco_key: disco_key(&soft.disco_key),
        home_derp: soft.home_derp,
        // Every node has one; a client needs a time in any case.
        created: node.created_at.and_then(from_timestamp).unwrap_or_default(),
        cap: capability_version(soft.capability_version),
        tags: node.tags.clone(),
        ..Node::default()
    }
}

/// Returns the node's own addresses as prefixes, IPv4 then IPv6.
pub(crate) fn addresses(shown: &ShownNode, hides_ipv4: bool) -> Vec<String> {
    let families = [(&shown.node.ipv4, 32), (&shown.node.ipv6, 128)];
    families
        .into_iter()
        .filter(|(address, bits)| !(address.is_empty() || (hides_ipv4 && *bits == 32)))
        .map(|(address, bits)| format!("{address}/{bits}"))
        .collect()
}

/// Returns what clients are told of the host: the replica keeps nothing else of what it sent.
fn hostinfo(shown: &ShownNode) -> Hostinfo {
    // Empty while the node has reported nothing that peers need.
    let stored: Hostinfo = serde_json::from_slice(&shown.soft.hostinfo).unwrap_or_default();
    Hostinfo {
        os: plain_text(&shown.node.os),
        hostname: plain_text(&shown.node.hostname),
        routable_ips: shown.node.advertised_routes.clone(),
        ..stored
    }
}

/// Returns capabilities as a client reads them.
pub(crate) fn cap_map(capabilities: &[Capability]) -> CapMap {
    capabilities
        .iter()
        .map(|capability| {
            let values = capability.values.iter();
            let values = values.filter_map(|value| RawValue::from_string(value.clone()).ok());
            let values = (!capability.null_value).then(|| values.collect());
            (capability.name.clone(), values)
        })
        .collect()
}

pub(crate) fn disco_key(bytes: &[u8]) -> Option<DiscoPublic> {
    DiscoPublic::try_from(bytes)
        .ok()
        .filter(|key| !key.is_zero())
}

pub(crate) fn capability_version(number: u32) -> CapabilityVersion {
    CapabilityVersion(u16::try_from(number).unwrap_or(u16::MAX))
}
