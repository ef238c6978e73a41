//! What nodes report of themselves: soft state at once, what policy judges as changes of the node.

use bowline_db::SoftBatch;
use bowline_proto::{
    identity::v1::{ResolveUserRequest, identity_service_client::IdentityServiceClient},
    key_registry::v1::{
        ClientReport, Node, NodeReport, NodeReportResult, Presence, PresenceReport, SoftState,
    },
    policy::v1::JudgeNodeRequest,
};
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    KeyRegistry,
    domain::{self, hostname, routes},
    error::RegistryError,
    node_changes,
    registration::{machine_actor, tailnet_id},
    store::{
        nodes,
        soft_states::{self, SoftRow},
    },
};

/// How long a node of a draining gateway counts as online: it is on its way to another.
const DRAIN_GRACE: TimeDelta = TimeDelta::seconds(60);
/// The most reports in one batch, as the contract has it.
const MOST: usize = 1000;

/// A committed batch: the results, and what has to follow.
#[derive(Default)]
struct Taken {
    results: Vec<NodeReportResult>,
    /// Nodes whose hard state differs from the report.
    differing: Vec<(Node, ClientReport)>,
    /// Tailnets where a router came online.
    routers: Vec<u64>,
}

impl KeyRegistry {
    /// Records reports; answers once they are committed.
    pub(crate) async fn report_nodes(
        &self,
        mut reports: Vec<NodeReport>,
    ) -> Result<Vec<NodeReportResult>, RegistryError> {
        if reports.len() > MOST {
            return Err(RegistryError::invalid(
                "reports",
                format!("are more than {MOST}"),
            ));
        }
        // Counters are locked in ascending order, so that two batches never wait for each other.
        let mut order: Vec<usize> = (0..reports.len()).collect();
        order.sort_by_key(|&index| reports[index].tailnet_id);
        reports.sort_by_key(|report| report.tailnet_id);
        let grace = self.config.offline_grace();
        let taken = self
            .log
            .soft(move |batch| Box::pin(take(batch, reports, grace)))
            .await?;
        for (node, report) in taken.differing {
            self.adopt(node, report).await?;
        }
        for tailnet in taken.routers {
            self.elect(tailnet).await?;
        }
        let mut results = vec![NodeReportResult::default(); taken.results.len()];
        for (index, result) in order.into_iter().zip(taken.results) {
            results[index] = result;
        }
        Ok(results)
    }

    /// Elects the primaries of a tailnet again.
    pub(crate) async fn elect(&self, tailnet: u64) -> Result<(), RegistryError> {
        let tailnet = tailnet_id(tailnet)?;
        self.log
            .mutate(tailnet, "service:key-registry", |mutation| {
                Box::pin(node_changes::elect_primaries(mutation))
            })
            .await?;
        Ok(())
    }

    /// Takes over what a client reports about itself that policy judges.
    async fn adopt(&self, node: Node, report: ClientReport) -> Result<(), RegistryError> {
        let tailnet = tailnet_id(node.tailnet_id)?;
        let offered = routes::tolerant(&report.advertised_routes);
        let approved = match offered == node.advertised_routes {
            true => Vec::new(),
            false => self.approved(&node, &offered).await?,
        };
        let actor = machine_actor(&node.machine_key);
        self.log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let found = nodes::by_key(mutation.connection(), &node.node_key).await?;
                    let Some(mut node) = found else { return Ok(()) };
                    let routes_differ = node.advertised_routes != offered;
                    node.hostname = report.hostname;
                    node.os = report.os;
                    node.client_version = report.client_version;
                    node.requested_tags = report.requested_tags;
                    node.advertised_routes = offered;
                    node.approved_routes.extend(approved);
                    node.approved_routes.sort();
                    node.approved_routes.dedup();
                    if !node.name_chosen {
                        let label = hostname::label(&node.hostname);
                        let follows = node.name == label
                            || node.name.strip_prefix(&label).is_some_and(|rest| {
                                rest.strip_prefix('-')
                                    .is_some_and(|n| n.parse::<u64>().is_ok())
                            });
                        if !follows {
                            node.name = node_changes::free_name(mutation, &label, node.id).await?;
                        }
                    }
                    node_changes::put(mutation, &node, None).await?;
                    if routes_differ {
                        node_changes::elect_primaries(mutation).await?;
                        let detail = json!({ "routes": node.advertised_routes });
                        mutation.audit("node.advertise", node.id.to_string(), &detail);
                    }
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }

    /// Asks which newly offered routes the policy approves by itself.
    async fn approved(
        &self,
        node: &Node,
        offered: &[String],
    ) -> Result<Vec<String>, RegistryError> {
        let mut question = JudgeNodeRequest {
            tailnet_id: node.tailnet_id,
            current_tags: node.tags.clone(),
            advertised_routes: offered.to_vec(),
            ..JudgeNodeRequest::default()
        };
        if node.tags.is_empty() {
            let mut identity = IdentityServiceClient::new(self.peers.identity.clone());
            let user = ResolveUserRequest {
                tailnet_id: node.tailnet_id,
                user_id: node.user_id,
            };
            let answer = identity.resolve_user(user).await;
            let answer = answer
                .map_err(RegistryError::service("identity"))?
                .into_inner();
            let user = answer.user.unwrap_or_default();
            question.user_id = user.id;
            question.login_name = user.login_name;
            question.groups = user.groups;
            question.role = user.role;
        }
        Ok(self.judge(question).await?.approved_routes)
    }
}

async fn take(
    batch: &mut SoftBatch,
    reports: Vec<NodeReport>,
    grace: TimeDelta,
) -> Result<Taken, RegistryError> {
    let mut taken = Taken::default();
    for report in reports {
        let node = nodes::by_id(batch.connection(), report.tailnet_id, report.node_id).await?;
        let Some(node) = node.filter(|node| node.node_key == report.node_key) else {
            taken.results.push(NodeReportResult::default());
            continue;
        };
        let found = soft_states::by_node(batch.connection(), node.id).await?;
        let mut row = found.unwrap_or_default();
        let before = row.clone();
        row.tailnet_id = node.tailnet_id;
        row.state.node_id = node.id;
        let epoch = report.presence.map_or(0, |presence| {
            let was_online = row.state.online;
            let epoch = apply_presence(&mut row, presence, batch.now(), grace);
            if row.state.online && !was_online && routes::usable(&node).next().is_some() {
                taken.routers.push(node.tailnet_id);
            }
            epoch
        });
        if let Some(client) = report.client {
            let gateway = row
                .state
                .presence
                .as_ref()
                .map(|presence| presence.gateway.clone());
            let outdated =
                client.sequence <= row.sequence && row.gateway == gateway.unwrap_or_default();
            if !outdated {
                apply_client(&mut row, &client);
                if differs(&node, &client) {
                    taken.differing.push((node, client));
                }
            }
        }
        if row.state != before.state
            || row.offline_at != before.offline_at
            || row.sequence != before.sequence
        {
            let tailnet = tailnet_id(row.tailnet_id)?;
            row.state.soft_revision = batch.revision(tailnet).await?;
            soft_states::put(batch.connection(), &row).await?;
        }
        taken.results.push(NodeReportResult {
            accepted: true,
            epoch,
        });
    }
    taken.routers.dedup();
    Ok(taken)
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
            if row.gateway != reported.gateway {
                // Numbers of reports count for one gateway.
                row.gateway.clone_from(&reported.gateway);
                row.sequence = 0;
            }
            row.state.presence = Some(Presence {
                epoch,
                gateway: reported.gateway,
            });
            row.state.online = true;
            row.state.last_seen = Some(domain::timestamp(now));
            row.offline_at = None;
        }
        return epoch;
    }
    let is_current = current.gateway == reported.gateway
        && (reported.epoch == 0 || reported.epoch == current.epoch);
    if is_current && row.state.online {
        let grace = if report.draining { DRAIN_GRACE } else { grace };
        row.offline_at = Some(bowline_db::to_micros(now + grace));
        row.state.last_seen = Some(domain::timestamp(now));
    }
    reported.epoch
}

fn apply_client(row: &mut SoftRow, client: &ClientReport) {
    row.sequence = client.sequence;
    row.state = SoftState {
        disco_key: client.disco_key.clone(),
        endpoints: client.endpoints.clone(),
        home_derp: client.home_derp,
        capability_version: client.capability_version,
        hostinfo: client.hostinfo.clone(),
        ..row.state.clone()
    };
}

/// Says whether a report differs from the node in what the log keeps.
fn differs(node: &Node, client: &ClientReport) -> bool {
    (&node.hostname, &node.os, &node.client_version)
        != (&client.hostname, &client.os, &client.client_version)
        || node.requested_tags != client.requested_tags
        || node.advertised_routes != routes::tolerant(&client.advertised_routes)
}
