//! What nodes report of themselves: soft state at once, what policy judges as changes of the node.

use std::collections::BTreeSet;

use bowline_db::{ChangeLog, SoftBatch};
use bowline_proto::key_registry::v1::{
    ClientReport, Node, NodeReport, NodeReportResult, Presence, PresenceReport, SoftState,
};
use chrono::TimeDelta;

use crate::{
    adoption::Adoption,
    attributes::POSTURE_LEVEL,
    domain::{self, routes, self_report},
    elections::elect_if_due,
    error::RegistryError,
    fields::{check_gateway, read_tailnet_id, require_field},
    shared_keys::{is_audit_due, record_shared_key},
    store::{
        TailnetNode, elections, gateways, nodes,
        soft_states::{self, LARGEST_BATCH, SoftRow},
    },
};

/// How long a node of a draining gateway counts as online: it is on its way to another.
const DRAIN_GRACE: TimeDelta = TimeDelta::seconds(60);
/// How long a node whose link is dead still counts as online: it had been silent for a while when that was found.
const DEAD_LINK_GRACE: TimeDelta = TimeDelta::seconds(5);

/// A committed batch: the results, and what has to follow.
#[derive(Default)]
struct ReportOutcomes {
    results: Vec<NodeReportResult>,
    /// Nodes whose hard state differs from the report, by their place among the reports.
    differing: Vec<(usize, TailnetNode)>,
    /// Tailnets where a router came online.
    routers: BTreeSet<u64>,
    /// Nodes whose key two machines use.
    sharing: Vec<Node>,
}

/// Records what gateways report of nodes. Clones share it.
#[derive(Clone, Debug)]
pub struct Reports {
    log: ChangeLog,
    adoption: Adoption,
    offline_grace: TimeDelta,
}

impl Reports {
    pub(crate) fn new(log: ChangeLog, adoption: Adoption, offline_grace: TimeDelta) -> Self {
        Self {
            log,
            adoption,
            offline_grace,
        }
    }

    /// Records what a gateway reports; answers once it is committed.
    ///
    /// What policy judges follows in mutations of its own, now or later; when not even that can be noted, the report is
    /// answered to be sent again.
    pub(crate) async fn record_reports(
        &self,
        gateway: String,
        mut reports: Vec<NodeReport>,
    ) -> Result<Vec<NodeReportResult>, RegistryError> {
        if reports.len() > LARGEST_BATCH {
            return Err(RegistryError::invalid(
                "reports",
                format!("are more than {LARGEST_BATCH}"),
            ));
        }
        check_gateway(&gateway)?;
        if self.log.database().schema_level() < POSTURE_LEVEL {
            let clients = reports
                .iter_mut()
                .filter_map(|report| report.client.as_mut());
            for host in clients.filter_map(|client| client.host.as_mut()) {
                self_report::forget_posture(host);
            }
        }
        // Counters are locked in ascending order, so that two batches never wait for each other.
        let mut order: Vec<usize> = (0..reports.len()).collect();
        order.sort_by_key(|&index| reports[index].tailnet_id);
        reports.sort_by_key(|report| report.tailnet_id);
        let grace = self.offline_grace;
        let ReportOutcomes {
            mut results,
            differing,
            routers,
            sharing,
        } = self
            .log
            .commit_soft_state(move |batch| Box::pin(write_batch(batch, gateway, reports, grace)))
            .await?;
        let nodes = differing.iter().map(|(_, node)| *node);
        if let Err(error) = self.adoption.adopt_reports(nodes.collect()).await {
            tracing::debug!(%error, "reports can neither be taken over nor noted for later");
            for (index, ..) in &differing {
                results[*index].again = true;
            }
        }
        for tailnet in routers {
            // The sweep tries again: it is recorded that an election is due.
            if let Err(error) = elect_if_due(&self.log, tailnet).await {
                tracing::debug!(tailnet, %error, "routers can not be elected yet");
            }
        }
        for node in sharing {
            let id = node.id;
            // The gateway reports it again while it goes on.
            if let Err(error) = record_shared_key(&self.log, node).await {
                tracing::debug!(node = id, %error, "a shared key can not be put on record yet");
            }
        }
        let mut answers = vec![NodeReportResult::default(); results.len()];
        for (index, result) in order.into_iter().zip(results) {
            answers[index] = result;
        }
        Ok(answers)
    }
}

async fn write_batch(
    batch: &mut SoftBatch,
    gateway: String,
    reports: Vec<NodeReport>,
    grace: TimeDelta,
) -> Result<ReportOutcomes, RegistryError> {
    let mut outcome = ReportOutcomes::default();
    // Its nodes go offline some time after its lease ends: so it needs one, even if it dies before it renews the first.
    let now = batch.now();
    gateways::add_gateway(batch.connection(), &gateway, now).await?;
    for (index, report) in reports.into_iter().enumerate() {
        let tailnet = read_tailnet_id(report.tailnet_id)?;
        batch.lock_tailnet(tailnet).await?;
        let node = nodes::by_id(batch.connection(), report.tailnet_id, report.node_id).await?;
        let Some(node) = node.filter(|node| node.node_key == report.node_key) else {
            outcome.results.push(NodeReportResult::default());
            continue;
        };
        let found = soft_states::by_node(batch.connection(), node.id).await?;
        let mut row = found.unwrap_or_else(|| SoftRow::first_seen(&node, now));
        let before = row.clone();
        let epoch = match report.presence {
            Some(presence) => apply_presence(&mut row, presence, now, grace)?,
            None => 0,
        };
        if row.state.online
            && !before.state.online
            && routes::usable_subnets(&node).next().is_some()
        {
            elections::mark_pending(batch.connection(), report.tailnet_id).await?;
            outcome.routers.insert(report.tailnet_id);
        }
        if report.key_shared && is_audit_due(&node, now) {
            outcome.sharing.push(node.clone());
        }
        let age = TimeDelta::milliseconds(
            report
                .age_milliseconds
                .min(u64::from(u32::MAX))
                .cast_signed(),
        );
        let sent_at = bowline_db::to_micros(now - age);
        let news = report
            .client
            .filter(|client| is_newest(&row, &gateway, client.sequence, sent_at));
        let applied = news.is_some();
        if let Some(client) = news {
            row.reporter.clone_from(&gateway);
            row.sequence = client.sequence;
            row.reported_at = sent_at;
            apply_client(&mut row, &client);
            let host = client.host.as_ref();
            if host.is_some_and(|host| self_report::differs_from_node(&node, host)) {
                outcome.differing.push((index, TailnetNode::from(&node)));
            }
        }
        if row != before {
            row.state.soft_revision = batch.take_revision(tailnet).await?;
            soft_states::put_row(batch.connection(), &row).await?;
        }
        outcome.results.push(NodeReportResult {
            accepted: true,
            epoch,
            again: false,
            applied,
            soft_revision: row.state.soft_revision,
        });
    }
    Ok(outcome)
}

/// Says whether a report is at least as new as the one that is kept. The same report again is: what had to follow it may
/// have failed the first time.
fn is_newest(row: &SoftRow, gateway: &str, sequence: u64, sent_at: i64) -> bool {
    if row.reporter == gateway {
        sequence >= row.sequence
    } else {
        sent_at >= row.reported_at
    }
}

/// Applies a session's begin or end, and returns the epoch it has. The report names its gateway and epoch; epoch 0 begins
/// a new session, or ends the current one.
fn apply_presence(
    row: &mut SoftRow,
    report: PresenceReport,
    now: chrono::DateTime<chrono::Utc>,
    grace: TimeDelta,
) -> Result<u64, RegistryError> {
    let reported = require_field("presence", report.presence)?;
    // A node that never had a session is at epoch 0, of no gateway.
    let current = row.state.presence.clone().unwrap_or_default();
    if report.live {
        let epoch = if reported.epoch == 0 {
            current.epoch + 1
        } else {
            reported.epoch
        };
        if epoch >= current.epoch {
            row.gateway.clone_from(&reported.gateway);
            row.state.presence = Some(Presence {
                epoch,
                gateway: reported.gateway,
            });
            row.state.online = true;
            row.state.last_seen = Some(domain::to_timestamp(now));
            row.offline_at = None;
        }
        return Ok(epoch);
    }
    let is_current = current.gateway == reported.gateway
        && (reported.epoch == 0 || reported.epoch == current.epoch);
    if is_current && row.state.online {
        let grace = if report.draining {
            DRAIN_GRACE
        } else if report.dead_link {
            grace.min(DEAD_LINK_GRACE)
        } else {
            grace
        };
        row.offline_at = Some(bowline_db::to_micros(now + grace));
        row.state.last_seen = Some(domain::to_timestamp(now));
    } else if is_current {
        // It is offline already, because its gateway's lease had ended. Now its session is known to have ended too.
        row.gateway.clear();
    }
    Ok(reported.epoch)
}

fn apply_client(row: &mut SoftRow, client: &ClientReport) {
    row.state = SoftState {
        disco_key: client.disco_key.clone(),
        endpoints: client.endpoints.clone(),
        capability_version: client.capability_version,
        ..row.state.clone()
    };
    if let Some(host) = &client.host {
        row.state.home_derp = host.home_derp;
        row.state.hostinfo.clone_from(&host.hostinfo);
        row.host = Some(self_report::logged_part(host));
    }
}
