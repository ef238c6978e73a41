//! Soft states, reduced to what peers are told, and what of them differs.

use bowline_control_wire::{Hostinfo, Location, Service, plain_text};
use bowline_proto::key_registry::v1::{ClientReport, Endpoint, HostReport, SoftState};

use super::view::Shown;

/// Returns a soft state with what peers are told of the host, and nothing else of it.
pub(super) fn told(soft: SoftState) -> SoftState {
    SoftState {
        hostinfo: told_host(&soft.hostinfo),
        ..soft
    }
}

/// Returns a report with what peers are told of the host, and nothing else of it.
pub(super) fn told_report(report: ClientReport) -> ClientReport {
    let host = report.host.map(|host| HostReport {
        hostinfo: told_host(&host.hostinfo),
        ..host
    });
    ClientReport { host, ..report }
}

/// The registry's soft state with what the client has reported since.
pub(super) fn overlay(soft: &SoftState, report: &ClientReport) -> SoftState {
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
fn told_host(json: &[u8]) -> Vec<u8> {
    let sent: Hostinfo = serde_json::from_slice(json).unwrap_or_default();
    let is_told = |service: &Service| service.proto.starts_with("peerapi");
    let services = sent.services.into_iter().filter(is_told);
    let told = Hostinfo {
        services: services
            .map(|service| Service {
                proto: plain_text(&service.proto),
                description: plain_text(&service.description),
                ..service
            })
            .collect(),
        ssh_host_keys: sent
            .ssh_host_keys
            .iter()
            .map(|key| plain_text(key))
            .collect(),
        location: sent.location.map(|place| Location {
            country: plain_text(&place.country),
            country_code: plain_text(&place.country_code),
            city: plain_text(&place.city),
            city_code: plain_text(&place.city_code),
            ..place
        }),
        ..Hostinfo::default()
    };
    if told == Hostinfo::default() {
        return Vec::new();
    }
    serde_json::to_vec(&told).unwrap_or_default()
}

/// Says whether anybody is told of a difference between the two: the numbers of batches and sessions are nobody's
/// business, nor what only the policy judges.
pub(super) fn look_alike(was: &Shown, now: &Shown) -> bool {
    (was.class, was.settings, was.offered) == (now.class, now.settings, now.offered)
        && (was.node == now.node || same_node(was, now))
        && (was.soft == now.soft || same_soft(&was.soft, &now.soft))
}

fn same_node(was: &Shown, now: &Shown) -> bool {
    let mut node = (*was.node).clone();
    node.name_chosen = now.node.name_chosen;
    node.ephemeral = now.node.ephemeral;
    node.client_version.clone_from(&now.node.client_version);
    node.requested_tags.clone_from(&now.node.requested_tags);
    node == *now.node
}

fn same_soft(was: &SoftState, now: &SoftState) -> bool {
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
