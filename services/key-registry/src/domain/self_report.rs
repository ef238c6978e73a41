//! What a node reports of itself that policy judges.

use bowline_proto::key_registry::v1::{HostReport, Node};
use chrono::{DateTime, Utc};

use super::{approval, report_judgement::ReportJudgement, retagging::Retagging, routes};

/// The longest name that is kept, in bytes, and the most tags.
const LONGEST_NAME: usize = 256;
const MOST_TAGS: usize = 100;

/// Returns the part of a report that the log keeps, bounded: what policy judges, and the hostname.
pub fn logged_part(host: &HostReport) -> HostReport {
    let name = |text: &str| text[..text.floor_char_boundary(LONGEST_NAME)].to_owned();
    let tags = host.requested_tags.iter().take(MOST_TAGS);
    HostReport {
        home_derp: 0,
        hostinfo: Vec::new(),
        hostname: name(&host.hostname),
        os: name(&host.os),
        client_version: name(&host.client_version),
        advertised_routes: routes::valid_routes(&host.advertised_routes),
        requested_tags: tags.map(|tag| name(tag)).collect(),
        os_version: name(&host.os_version),
        auto_update: host.auto_update,
        state_encrypted: host.state_encrypted,
    }
}

/// Takes off a report what processes of an earlier release do not keep: they would judge the node by what it was before.
pub fn forget_posture(host: &mut HostReport) {
    host.os_version.clear();
    (host.auto_update, host.state_encrypted) = (None, None);
}

/// Says whether taking this report over would change the node.
pub fn differs_from_node(node: &Node, host: &HostReport) -> bool {
    let host = logged_part(host);
    (&node.hostname, &node.os, &node.client_version)
        != (&host.hostname, &host.os, &host.client_version)
        || (&node.os_version, node.auto_update, node.state_encrypted)
            != (&host.os_version, host.auto_update, host.state_encrypted)
        || node.requested_tags != host.requested_tags
        || node.advertised_routes != host.advertised_routes
}

/// Says whether policy has to judge a report before it counts.
pub fn needs_judgement(node: &Node, host: &HostReport) -> bool {
    node.advertised_routes != host.advertised_routes
        || Retagging::from_report(node, host) != Retagging::None
}

/// Takes over a report, as it was judged: routes that the policy approves are those it offers now, and no others.
pub fn apply_report(
    node: &mut Node,
    host: &HostReport,
    judgement: Option<&ReportJudgement>,
    now: DateTime<Utc>,
) {
    if let Some(judgement) = judgement {
        let ReportJudgement {
            policy,
            keeps_approval,
        } = judgement;
        let tags = node.tags.clone();
        Retagging::from_report(node, host).apply_to_node(node, policy, now);
        if node.tags != tags && !keeps_approval {
            approval::withdraw_rule(node);
        }
        node.advertised_routes.clone_from(&host.advertised_routes);
        routes::approve_by_policy(node, &policy.approved_routes);
    }
    node.hostname.clone_from(&host.hostname);
    node.os.clone_from(&host.os);
    node.client_version.clone_from(&host.client_version);
    node.os_version.clone_from(&host.os_version);
    (node.auto_update, node.state_encrypted) = (host.auto_update, host.state_encrypted);
    node.requested_tags.clone_from(&host.requested_tags);
}

#[cfg(test)]
mod tests;
