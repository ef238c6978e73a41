//! Soft states, reduced to what peers are told.

use bowline_control_wire::{Hostinfo, Location, Service, plain_text};
use bowline_proto::key_registry::v1::{ClientReport, HostReport, SoftState};

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
    // What can not be read tells peers nothing.
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

#[cfg(test)]
mod tests;
