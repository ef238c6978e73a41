//! Ends that time brings: keys, ephemeral nodes, presence. Each second, on any replica, by the database's time.

use std::time::Duration;

use bowline_db::{SoftBatch, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    KeyRegistry, domain,
    error::RegistryError,
    node_changes,
    registration::tailnet_id,
    store::{
        elections, gateways, nodes,
        soft_states::{self, SoftRow},
    },
};

const TICK: Duration = Duration::from_secs(1);
/// After a pause this long gateways could not renew their leases: time starts to count again.
const PAUSE: Duration = Duration::from_secs(4);
/// How long gateways are given to renew their leases after such a pause, and at the start.
const FORGIVENESS: Duration = Duration::from_secs(8);
/// How long a gateway without lease is still named in answers to revocations.
const GATEWAY_MEMORY: TimeDelta = TimeDelta::hours(1);
const ACTOR: &str = "service:key-registry";

/// Since when this replica has swept without a pause: only since then could gateways renew their leases.
struct Counting {
    since: Instant,
    since_time: Option<DateTime<Utc>>,
    swept: Instant,
}

impl Counting {
    fn start() -> Self {
        let now = Instant::now();
        Self {
            since: now,
            since_time: None,
            swept: now,
        }
    }

    /// Notes a sweep; after a pause time starts to count again.
    fn resume(&mut self, now: DateTime<Utc>) {
        if self.since_time.is_none() || self.swept.elapsed() > PAUSE {
            self.since = Instant::now();
            self.since_time = Some(now);
        }
        self.swept = Instant::now();
    }

    /// Returns since when it counts, once gateways have had the time to renew their leases.
    fn since(&self) -> Option<DateTime<Utc>> {
        self.since_time
            .filter(|_| self.since.elapsed() >= FORGIVENESS)
    }
}

/// Runs until the process ends.
pub async fn run(registry: KeyRegistry) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counting = Counting::start();
    let mut compacted = Instant::now();
    loop {
        ticks.tick().await;
        if let Err(error) = registry.sweep(&mut counting).await {
            tracing::warn!(%error, "the sweep could not be done");
        }
        if compacted.elapsed() > Duration::from_secs(60) {
            registry.compact().await;
            compacted = Instant::now();
        }
    }
}

impl KeyRegistry {
    async fn sweep(&self, counting: &mut Counting) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        counting.resume(now);
        let reader = self.log.database().reader();
        for node in nodes::due(reader, now).await? {
            self.expire(node).await?;
        }
        if let Some(since) = counting.since() {
            self.take_offline(now).await?;
            let grace = TimeDelta::seconds(self.config.ephemeral_seconds.cast_signed());
            if now - since >= grace {
                self.remove_abandoned(now - grace).await?;
            }
            if !gateways::ended(reader, now).await?.is_empty() {
                self.forget_gateways(now - GATEWAY_MEMORY).await?;
            }
        }
        for tailnet in elections::called(reader).await? {
            self.elect(tailnet).await?;
        }
        Ok(())
    }

    /// Forgets the gateways that have left, and those whose lease ended before a time.
    async fn forget_gateways(&self, before: DateTime<Utc>) -> Result<(), RegistryError> {
        let forgetting = self.log.database().write(move |write| {
            Box::pin(async move {
                gateways::forget(write.connection(), before).await?;
                Ok::<_, RegistryError>(())
            })
        });
        forgetting.await
    }

    /// Deletes ephemeral nodes that have not been online since a time.
    async fn remove_abandoned(&self, since: DateTime<Utc>) -> Result<(), RegistryError> {
        for node in nodes::abandoned(self.log.database().reader(), since).await? {
            let is_still = move |node: &Node, soft: Option<&SoftRow>| {
                let seen = soft
                    .and_then(|row| row.state.last_seen)
                    .and_then(domain::time);
                let is_online = soft.is_some_and(|row| row.state.online);
                node.ephemeral && !is_online && seen.is_none_or(|seen| seen < since)
            };
            self.remove(node, "node.abandoned", is_still).await?;
        }
        Ok(())
    }

    async fn expire(&self, node: Node) -> Result<(), RegistryError> {
        let tailnet = tailnet_id(node.tailnet_id)?;
        self.log
            .mutate(tailnet, ACTOR, move |mutation| {
                Box::pin(async move {
                    let found =
                        nodes::by_id(mutation.connection(), node.tailnet_id, node.id).await?;
                    let due = found.filter(|node| {
                        let end = node.key_expiry.and_then(domain::time);
                        !node.expired && end.is_some_and(|end| end <= mutation.now())
                    });
                    let Some(node) = due else { return Ok(()) };
                    let node = node_changes::expire(mutation, node).await?;
                    mutation.audit("node.expire", node.id.to_string(), &json!({ "by": "time" }));
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }

    /// Deletes a node that is still there, with the same key, and still as it has to be for that.
    pub(crate) async fn remove(
        &self,
        node: Node,
        action: &'static str,
        is_still: impl Fn(&Node, Option<&SoftRow>) -> bool + Send + 'static,
    ) -> Result<(), RegistryError> {
        let tailnet = tailnet_id(node.tailnet_id)?;
        self.log
            .mutate(tailnet, ACTOR, move |mutation| {
                Box::pin(async move {
                    let found = nodes::by_key(mutation.connection(), &node.node_key).await?;
                    let soft = soft_states::by_node(mutation.connection(), node.id).await?;
                    let found = found.filter(|node| is_still(node, soft.as_ref()));
                    let Some(node) = found else { return Ok(()) };
                    node_changes::delete(mutation, &node).await?;
                    mutation.audit(action, node.id.to_string(), &json!({ "name": node.name }));
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }

    /// Tells of the nodes whose grace time is over that they are offline.
    async fn take_offline(&self, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let leases = now - self.config.offline_grace();
        loop {
            let reader = self.log.database().reader();
            let going = soft_states::going_offline(reader, now, leases).await?;
            if going.is_empty() {
                return Ok(());
            }
            self.log
                .soft(move |batch| {
                    Box::pin(async move {
                        for row in going {
                            go_offline(batch, &row, (now, leases)).await?;
                        }
                        Ok::<_, RegistryError>(())
                    })
                })
                .await?;
        }
    }
}

/// Tells of one node that it is offline, unless it came back meanwhile.
async fn go_offline(
    batch: &mut SoftBatch,
    going: &SoftRow,
    (now, leases): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), RegistryError> {
    let tailnet = tailnet_id(going.tailnet_id)?;
    batch.lock(tailnet).await?;
    let found = soft_states::by_node(batch.connection(), going.state.node_id).await?;
    let Some(mut row) = found.filter(|row| row.state.online) else {
        return Ok(());
    };
    let session_ended = row.offline_at.is_some_and(|at| at <= to_micros(now));
    if !session_ended {
        let lease = gateways::lease(batch.connection(), &row.gateway).await?;
        if lease.is_some_and(|end| end >= to_micros(leases)) {
            return Ok(());
        }
        row.state.last_seen = Some(domain::timestamp(now));
    }
    row.state.online = false;
    row.offline_at = None;
    row.state.soft_revision = batch.revision(tailnet).await?;
    soft_states::put(batch.connection(), &row).await?;
    let node = nodes::by_id(batch.connection(), row.tailnet_id, row.state.node_id).await?;
    if node.is_some_and(|node| !node.primary_routes.is_empty()) {
        elections::call(batch.connection(), row.tailnet_id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
