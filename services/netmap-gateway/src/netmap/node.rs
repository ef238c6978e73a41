//! Nodes as a client sees them.

use bowline_control_wire::{CapMap, CapabilityVersion, Hostinfo, Location, Node, plain_text};
use bowline_ids::{NodeId, StableNodeId};
use bowline_keys::{DiscoPublic, MachinePublic, NodePublic};
use bowline_proto::policy::v1::{Capability, VisibleClass};
use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde_json::value::RawValue;

use super::profile::owner;
use crate::tailnet::{Shown, View};

/// The two routes of an exit node.
pub(crate) const EXIT_ROUTES: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Returns a peer as nodes that see it as `visible` are told of it.
pub(crate) fn peer(view: &View, shown: &Shown, visible: &VisibleClass) -> Node {
    let node = &shown.node;
    let online = shown.soft.online;
    let mut allowed_ips = addresses(shown);
    allowed_ips.extend(routes_through(shown, visible));
    let capabilities = view
        .classes
        .get(&shown.class)
        .map(|class| &class.peer_capabilities);
    Node {
        allowed_ips,
        endpoints: shown
            .soft
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.clone())
            .collect(),
        primary_routes: routes_through(shown, visible)
            .filter(|route| !EXIT_ROUTES.contains(&route.as_str()))
            .collect(),
        hostinfo: reduced(hostinfo(shown)),
        online: Some(online),
        last_seen: shown.soft.last_seen.filter(|_| !online).and_then(time),
        machine_authorized: node.approved,
        cap_map: capabilities
            .map(|listed| cap_map(listed))
            .unwrap_or_default(),
        expired: node.expired,
        ..common(view, shown)
    }
}

/// Returns the client's own node.
pub(crate) fn own(view: &View, shown: &Shown, now: DateTime<Utc>) -> Node {
    let node = &shown.node;
    let mut allowed_ips = addresses(shown);
    allowed_ips.extend(usable_routes(shown).cloned());
    let key_expiry = node.key_expiry.and_then(time);
    let capabilities = view
        .classes
        .get(&shown.class)
        .map(|class| &class.capabilities);
    Node {
        allowed_ips,
        machine: MachinePublic::try_from(&*node.machine_key).ok(),
        // A client believes only an end that has passed by its clock.
        key_expiry: match key_expiry {
            _ if !node.expired => key_expiry,
            Some(end) if end < now => Some(end),
            _ => DateTime::from_timestamp(123, 0),
        },
        primary_routes: node.primary_routes.clone(),
        hostinfo: reduced(hostinfo(shown)),
        online: Some(true),
        machine_authorized: node.approved,
        cap_map: capabilities
            .map(|listed| cap_map(listed))
            .unwrap_or_default(),
        ..common(view, shown)
    }
}

/// What does not depend on who looks.
fn common(view: &View, shown: &Shown) -> Node {
    let (node, soft) = (&shown.node, &shown.soft);
    Node {
        id: node.id,
        stable_id: NodeId::try_from(node.id)
            .map(|id| StableNodeId::from(id).to_string())
            .unwrap_or_default(),
        name: plain_text(&format!("{}.{}.", node.name, view.tailnet.magic_dns_suffix)),
        user: owner(node),
        key: NodePublic::try_from(&*node.node_key).unwrap_or_default(),
        key_expiry: node.key_expiry.and_then(time),
        disco_key: disco_key(&soft.disco_key),
        addresses: addresses(shown),
        home_derp: soft.home_derp,
        created: node.created_at.and_then(time).unwrap_or_default(),
        cap: capability_version(soft.capability_version),
        tags: node.tags.clone(),
        ..Node::default()
    }
}

/// Returns the node's own addresses as prefixes, IPv4 then IPv6.
pub(crate) fn addresses(shown: &Shown) -> Vec<String> {
    let families = [(&shown.node.ipv4, 32), (&shown.node.ipv6, 128)];
    families
        .into_iter()
        .filter(|(address, _)| !address.is_empty())
        .map(|(address, bits)| format!("{address}/{bits}"))
        .collect()
}

/// Returns the routes that are both advertised and approved.
fn usable_routes(shown: &Shown) -> impl Iterator<Item = &String> {
    let node = &shown.node;
    node.advertised_routes
        .iter()
        .filter(|route| node.approved_routes.contains(route))
}

/// Returns the routes a viewer has through a peer: those it may use and the peer is the router of.
pub(crate) fn routes_through<'s>(
    shown: &'s Shown,
    visible: &'s VisibleClass,
) -> impl Iterator<Item = String> + 's {
    let subnets = usable_routes(shown).filter(move |route| {
        let chosen = visible
            .via_primaries
            .iter()
            .find(|via| via.route == **route);
        match chosen {
            Some(via) => via.node_id == shown.node.id,
            None => visible.routes.contains(route) && shown.node.primary_routes.contains(route),
        }
    });
    let exits = usable_routes(shown)
        .filter(move |route| visible.exit_routes && EXIT_ROUTES.contains(&route.as_str()));
    subnets
        .filter(|route| !EXIT_ROUTES.contains(&route.as_str()))
        .chain(exits)
        .cloned()
}

fn hostinfo(shown: &Shown) -> Hostinfo {
    let stored: Hostinfo = serde_json::from_slice(&shown.soft.hostinfo).unwrap_or_default();
    Hostinfo {
        os: plain_text(&shown.node.os),
        hostname: plain_text(&shown.node.hostname),
        routable_ips: shown.node.advertised_routes.clone(),
        ..stored
    }
}

/// Keeps what peers need.
fn reduced(hostinfo: Hostinfo) -> Hostinfo {
    Hostinfo {
        os: hostinfo.os,
        hostname: hostinfo.hostname,
        services: hostinfo
            .services
            .into_iter()
            .filter(|service| service.proto.starts_with("peerapi"))
            .map(|service| bowline_control_wire::Service {
                proto: plain_text(&service.proto),
                description: plain_text(&service.description),
                ..service
            })
            .collect(),
        routable_ips: hostinfo.routable_ips,
        ssh_host_keys: hostinfo
            .ssh_host_keys
            .iter()
            .map(|key| plain_text(key))
            .collect(),
        location: hostinfo.location.map(|place| Location {
            country: plain_text(&place.country),
            country_code: plain_text(&place.country_code),
            city: plain_text(&place.city),
            city_code: plain_text(&place.city_code),
            ..place
        }),
        ..Hostinfo::default()
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

pub(crate) fn time(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}
