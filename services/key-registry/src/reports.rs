//! What nodes report of themselves: soft state at once, what policy judges as changes of the node.

use std::collections::BTreeSet;

use bowline_db::SoftBatch;
use bowline_proto::key_registry::v1::{
    ClientReport, Node, NodeReport, NodeReportResult, Presence, PresenceReport, SoftState,
};
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    KeyRegistry,
    domain::{self, routes, self_report},
    error::RegistryError,
    node_changes,
    registration::read_tailnet_id,
    shared_keys,
    store::{
        TailnetNode, elections, gateways, nodes,
        soft_states::{self, LARGEST_BATCH, SoftRow},
    },
};

/// How long a node of a draining gateway counts as online: it is on its way to another.
const DRAIN_GRACE: TimeDelta = TimeDelta::seconds(60);
/// How long a node whose link is dead is waited for: it was silent for a while before that was known.
const DEAD_LINK_GRACE: TimeDelta = TimeDelta::seconds(5);

/// A committed batch: the results, and what has to follow.
#[derive(Default)]
struct BatchOutcome {
    results: Vec<NodeReportResult>,
    /// Nodes whose hard state differs from the report, by their place among the reports.
    differing: Vec<(usize, TailnetNode)>,
    /// Tailnets where a router came online.
    routers: BTreeSet<u64>,
    /// Nodes whose key two machines use.
    sharing: Vec<Node>,
}

impl KeyRegistry {
    /// Records what a gateway reports; answers once it is committed.
    ///
    /// What policy judges follows in mutations of its own, now or later; when not even that can be noted, the report is
    /// answered to be sent again.
    pub(crate) async fn report_nodes(
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
        if gateway.is_empty() {
            return Err(RegistryError::invalid("gateway", "is not named"));
        }
        // Counters are locked in ascending order, so that two batches never wait for each other.
        let mut order: Vec<usize> = (0..reports.len()).collect();
        order.sort_by_key(|&index| reports[index].tailnet_id);
        reports.sort_by_key(|report| report.tailnet_id);
        let grace = self.config.offline_grace();
        let BatchOutcome {
            mut results,
            differing,
            routers,
            sharing,
        } = self
            .log
            .commit_soft_state(move |batch| {
                Box::pin(record_reports(batch, gateway, reports, grace))
            })
            .await?;
        let nodes = differing.iter().map(|(_, node)| *node);
        if let Err(error) = self.adopt_reports(nodes.collect()).await {
            tracing::debug!(%error, "reports can neither be taken over nor noted for later");
            for (index, ..) in &differing {
                results[*index].again = true;
            }
        }
        for tailnet in routers {
            // It is noted that they have to be elected: the sweep does it otherwise.
            if let Err(error) = self.elect_if_due(tailnet).await {
                tracing::debug!(tailnet, %error, "routers can not be elected yet");
            }
        }
        for node in sharing {
            let id = node.id;
            // It is reported again while it goes on.
            if let Err(error) = self.record_shared_key(node).await {
                tracing::debug!(node = id, %error, "a shared key can not be put on record yet");
            }
        }
        let mut answers = vec![NodeReportResult::default(); results.len()];
        for (index, result) in order.into_iter().zip(results) {
            answers[index] = result;
        }
        Ok(answers)
    }

    /// Elects the primaries of a tailnet again, where that is noted.
    pub(crate) async fn elect_if_due(&self, tailnet: u64) -> Result<(), RegistryError> {
        let tailnet = read_tailnet_id(tailnet)?;
        self.log
            .mutate(tailnet, "service:key-registry", move |mutation| {
                Box::pin(async move {
                    if !node_changes::take_due_election(mutation).await? {
                        return Ok(());
                    }
                    let moved = node_changes::elect_primaries(mutation).await?;
                    if !moved.is_empty() {
                        mutation.record_audit("routes.elect", "", &json!({ "nodes": moved }));
                    }
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }
}

async fn record_reports(
    batch: &mut SoftBatch,
    gateway: String,
    reports: Vec<NodeReport>,
    grace: TimeDelta,
) -> Result<BatchOutcome, RegistryError> {
    let mut taken = BatchOutcome::default();
    // Its nodes' time to come back needs an end, also when it dies before it ever renews its lease.
    let now = batch.now();
    gateways::add_gateway(batch.connection(), &gateway, now).await?;
    for (index, report) in reports.into_iter().enumerate() {
        let tailnet = read_tailnet_id(report.tailnet_id)?;
        batch.lock_tailnet(tailnet).await?;
        let node = nodes::by_id(batch.connection(), report.tailnet_id, report.node_id).await?;
        let Some(node) = node.filter(|node| node.node_key == report.node_key) else {
            taken.results.push(NodeReportResult::default());
            continue;
        };
        let found = soft_states::by_node(batch.connection(), node.id).await?;
        let mut row = found.unwrap_or_else(|| SoftRow::for_node(&node, now));
        let before = row.clone();
        let epoch = report
            .presence
            .map_or(0, |presence| apply_presence(&mut row, presence, now, grace));
        if row.state.online
            && !before.state.online
            && routes::usable_subnets(&node).next().is_some()
        {
            elections::mark_pending(batch.connection(), report.tailnet_id).await?;
            taken.routers.insert(report.tailnet_id);
        }
        if report.key_shared && shared_keys::is_audit_due(&node, now) {
            taken.sharing.push(node.clone());
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
                taken.differing.push((index, TailnetNode::from(&node)));
            }
        }
        if row != before {
            row.state.soft_revision = batch.take_revision(tailnet).await?;
            soft_states::put_row(batch.connection(), &row).await?;
        }
        taken.results.push(NodeReportResult {
            accepted: true,
            epoch,
            again: false,
            applied,
            soft_revision: row.state.soft_revision,
        });
    }
    Ok(taken)
}

/// Says whether a report is not older than the one that counts. The same one again is: what should have followed it
/// may not have been done.
fn is_newest(row: &SoftRow, gateway: &str, sequence: u64, sent_at: i64) -> bool {
    if row.reporter == gateway {
        sequence >= row.sequence
    } else {
        sent_at >= row.reported_at
    }
}

/// Applies a session's begin or end, and returns the epoch it has.
fn apply_presence(
    row: &mut SoftRow,
    report: PresenceReport,
    now: chrono::DateTime<chrono::Utc>,
    grace: TimeDelta,
) -> u64 {
    let reported = report.presence.unwrap_or_default();
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
        return epoch;
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
        // It was told offline when its gateway lost the lease: now it is known that its session has ended.
        row.gateway.clear();
    }
    reported.epoch
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
        row.host = Some(self_report::judged_part(host));
    }
}
