//! Soft states, reduced to what peers are told, and what of them differs.

use bowline_control_wire::{Hostinfo, Location, Service, plain_text};
use bowline_proto::key_registry::v1::{ClientReport, Endpoint, HostReport, SoftState};

use crate::view::ShownNode;

/// The most services of a host that are told: a client has three.
const SERVICES: usize = 16;
/// The longest text of a service or a place, in bytes.
const LABEL: usize = 64;
/// The most SSH host keys that are told, and the longest, in bytes: an RSA key of 4096 bits has 730.
const SSH_KEYS: usize = 8;
const SSH_KEY: usize = 1024;

/// Returns a soft state with what peers are told of the host, and nothing else of it.
pub(super) fn reduce_soft_state(soft: SoftState) -> SoftState {
    SoftState {
        hostinfo: reduce_hostinfo(&soft.hostinfo),
        ..soft
    }
}

/// Returns a report with what peers are told of the host, and nothing else of it.
pub(super) fn reduce_report(report: ClientReport) -> ClientReport {
    let host = report.host.map(|host| HostReport {
        hostinfo: reduce_hostinfo(&host.hostinfo),
        ..host
    });
    ClientReport { host, ..report }
}

/// The registry's soft state with what the client has reported since.
pub(super) fn overlay_report(soft: &SoftState, report: &ClientReport) -> SoftState {
    let mut soft = SoftState {
        disco_key: report.disco_key.clone(),
        endpoints: report.endpoints.clone(),
        capability_version: report.capability_version,
        ..soft.clone()
    };
    if let Some(host) = &report.host {
        soft.home_derp = host.home_derp;
        soft.hostinfo.clone_from(&host.hostinfo);
    }
    soft
}

/// Keeps of a host's description what peers need and hard state does not have; empty for nothing.
///
/// Each peer is sent it, so it is bounded: what is too long is cut where a part still means something, and left out
/// where not.
fn reduce_hostinfo(json: &[u8]) -> Vec<u8> {
    let sent: Hostinfo = serde_json::from_slice(json).unwrap_or_default();
    let is_told =
        |service: &Service| service.proto.starts_with("peerapi") && service.proto.len() <= LABEL;
    let services = sent.services.into_iter().filter(is_told);
    let keys = sent.ssh_host_keys.iter().filter(|key| key.len() <= SSH_KEY);
    let told = Hostinfo {
        services: services
            .take(SERVICES)
            .map(|service| Service {
                proto: plain_text(&service.proto),
                description: cut_label(&service.description),
                ..service
            })
            .collect(),
        ssh_host_keys: keys.take(SSH_KEYS).map(|key| plain_text(key)).collect(),
        location: sent.location.map(|place| Location {
            country: cut_label(&place.country),
            country_code: cut_label(&place.country_code),
            city: cut_label(&place.city),
            city_code: cut_label(&place.city_code),
            ..place
        }),
        ..Hostinfo::default()
    };
    if told == Hostinfo::default() {
        return Vec::new();
    }
    serde_json::to_vec(&told).unwrap_or_default()
}

/// Returns a short text, cut.
fn cut_label(text: &str) -> String {
    plain_text(&text[..text.floor_char_boundary(LABEL)])
}

/// Says whether anybody is told of a difference between the two: the numbers of batches and sessions are nobody's
/// business, nor what only the policy judges.
pub(super) fn appear_equal(was: &ShownNode, now: &ShownNode) -> bool {
    (was.class, was.settings, was.offered) == (now.class, now.settings, now.offered)
        && (was.node == now.node || nodes_appear_equal(was, now))
        && (was.soft == now.soft || soft_states_appear_equal(&was.soft, &now.soft))
}

fn nodes_appear_equal(was: &ShownNode, now: &ShownNode) -> bool {
    let mut node = (*was.node).clone();
    node.name_chosen = now.node.name_chosen;
    node.ephemeral = now.node.ephemeral;
    node.shared_key.clone_from(&now.node.shared_key);
    node.client_version.clone_from(&now.node.client_version);
    node.requested_tags.clone_from(&now.node.requested_tags);
    node.tagged_by = now.node.tagged_by;
    node.administrator_routes
        .clone_from(&now.node.administrator_routes);
    node.machine_shared_with = now.node.machine_shared_with;
    node == *now.node
}

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

#[cfg(test)]
mod tests;
