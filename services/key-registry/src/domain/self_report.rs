//! What a node reports of itself that policy judges.

use bowline_proto::{
    key_registry::v1::{HostReport, Node},
    policy::v1::JudgeNodeResponse,
};
use chrono::{DateTime, Utc};

use super::{retagging::Retagging, routes};

/// The longest name that is kept, in bytes, and the most tags.
const LONGEST_NAME: usize = 256;
const MOST_TAGS: usize = 100;

/// Returns the part of a report that policy judges, bounded: what is kept of the newest one.
pub fn judged_part(host: &HostReport) -> HostReport {
    let name = |text: &str| text[..text.floor_char_boundary(LONGEST_NAME)].to_owned();
    let tags = host.requested_tags.iter().take(MOST_TAGS);
    HostReport {
        home_derp: 0,
        hostinfo: Vec::new(),
        hostname: name(&host.hostname),
        os: name(&host.os),
        client_version: name(&host.client_version),
        advertised_routes: routes::tolerant(&host.advertised_routes),
        requested_tags: tags.map(|tag| name(tag)).collect(),
    }
}

/// Says whether what is said of a host differs from the node in what the log keeps.
pub fn differs(node: &Node, host: &HostReport) -> bool {
    let host = judged_part(host);
    (&node.hostname, &node.os, &node.client_version)
        != (&host.hostname, &host.os, &host.client_version)
        || node.requested_tags != host.requested_tags
        || node.advertised_routes != host.advertised_routes
}

/// Says whether policy has to judge a report before it counts.
pub fn needs_judgement(node: &Node, host: &HostReport) -> bool {
    node.advertised_routes != host.advertised_routes || Retagging::of(node, host) != Retagging::None
}

/// Takes over a report, as it was judged: routes that the policy approves are those it offers now, and no others.
pub fn apply(
    node: &mut Node,
    host: &HostReport,
    judgement: Option<&JudgeNodeResponse>,
    now: DateTime<Utc>,
) {
    if let Some(judgement) = judgement {
        Retagging::of(node, host).apply(node, judgement, now);
        node.advertised_routes.clone_from(&host.advertised_routes);
        routes::approve_by_policy(node, &judgement.approved_routes);
    }
    node.hostname.clone_from(&host.hostname);
    node.os.clone_from(&host.os);
    node.client_version.clone_from(&host.client_version);
    node.requested_tags.clone_from(&host.requested_tags);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_report_is_bounded() {
        let report = HostReport {
            hostname: "ü".repeat(1000),
            hostinfo: vec![1; 60_000],
            advertised_routes: (0..5000_u32)
                .map(|number| format!("10.{}.{}.0/24", number / 256, number % 256))
                .collect(),
            requested_tags: vec!["tag:".repeat(1000); 5000],
            ..HostReport::default()
        };
        let kept = judged_part(&report);
        assert_eq!(kept.hostname.len(), LONGEST_NAME);
        assert_eq!(
            (kept.advertised_routes.len(), kept.requested_tags.len()),
            (1000, MOST_TAGS)
        );
        assert!(kept.hostinfo.is_empty() && prost::Message::encoded_len(&kept) < 64 << 10);
    }

    #[test]
    fn routes_that_are_offered_no_more_are_not_approved_any_more() {
        let list = |routes: &[&str]| routes.iter().map(|&route| route.to_owned()).collect();
        let mut node = Node::default();
        routes::approve_by_administrator(&mut node, list(&["192.168.0.0/24"]));
        for round in 0..50 {
            let offered: Vec<String> = list(&[&format!("10.0.{round}.0/24")]);
            let report = HostReport {
                advertised_routes: offered.clone(),
                ..HostReport::default()
            };
            let judgement = JudgeNodeResponse {
                approved_routes: offered.clone(),
                ..JudgeNodeResponse::default()
            };
            apply(&mut node, &report, Some(&judgement), DateTime::UNIX_EPOCH);
            assert_eq!(node.advertised_routes, offered);
            assert_eq!(node.approved_routes, [&*offered[0], "192.168.0.0/24"]);
        }
    }
}
