//! Ends that time brings: keys, ephemeral nodes, presence. Each second, on any replica, by the database's time.

use std::time::Duration;

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    KeyRegistry,
    domain::{self, routes},
    error::RegistryError,
    node_changes,
    registration::tailnet_id,
    store::{gateways, nodes, soft_states},
};

const TICK: Duration = Duration::from_secs(1);
/// After a pause this long gateways could not renew their leases: time starts to count again.
const PAUSE: Duration = Duration::from_secs(4);
/// How long leases are given after such a pause, and at the start.
const FORGIVENESS: Duration = Duration::from_secs(8);
/// How long a gateway without lease is still named in answers to revocations.
const GATEWAY_MEMORY: TimeDelta = TimeDelta::hours(1);
const ACTOR: &str = "service:key-registry";

/// Runs until the process ends.
pub async fn run(registry: KeyRegistry) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judge_leases_from = Instant::now() + FORGIVENESS;
    let mut swept = Instant::now();
    let mut compacted = Instant::now();
    loop {
        ticks.tick().await;
        if swept.elapsed() > PAUSE {
            judge_leases_from = Instant::now() + FORGIVENESS;
        }
        match registry.sweep(Instant::now() >= judge_leases_from).await {
            Ok(()) => swept = Instant::now(),
            Err(error) => tracing::warn!(%error, "the sweep could not be done"),
        }
        if compacted.elapsed() > Duration::from_secs(60) {
            registry.compact().await;
            compacted = Instant::now();
        }
    }
}

impl KeyRegistry {
    async fn sweep(&self, judges_leases: bool) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        let reader = self.log.database().reader();
        for node in nodes::due(reader, now).await? {
            self.expire(node).await?;
        }
        let grace = TimeDelta::seconds(self.config.ephemeral_seconds.cast_signed());
        for node in nodes::abandoned(reader, now - grace).await? {
            self.remove(node, "node.abandoned").await?;
        }
        if judges_leases {
            self.doubt_gateways(now).await?;
        }
        self.take_offline(now).await
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
                    let Some(mut node) = due else { return Ok(()) };
                    node.expired = true;
                    node_changes::put(mutation, &node, None).await?;
                    mutation.audit("node.expire", node.id.to_string(), &json!({ "by": "time" }));
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }

    /// Deletes a node that is still there.
    pub(crate) async fn remove(
        &self,
        node: Node,
        action: &'static str,
    ) -> Result<(), RegistryError> {
        let tailnet = tailnet_id(node.tailnet_id)?;
        self.log
            .mutate(tailnet, ACTOR, move |mutation| {
                Box::pin(async move {
                    let found =
                        nodes::by_id(mutation.connection(), node.tailnet_id, node.id).await?;
                    let Some(node) = found else { return Ok(()) };
                    node_changes::delete(mutation, &node).await?;
                    mutation.audit(action, node.id.to_string(), &json!({ "name": node.name }));
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(())
    }

    /// Starts the grace time of nodes whose gateway has lost its lease.
    async fn doubt_gateways(&self, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let ended = gateways::ended(self.log.database().reader(), now).await?;
        if ended.is_empty() {
            return Ok(());
        }
        let forgotten = gateways::ended(self.log.database().reader(), now - GATEWAY_MEMORY).await?;
        let offline_at = now + self.config.offline_grace();
        self.log
            .database()
            .write(move |write| {
                Box::pin(async move {
                    for gateway in ended {
                        soft_states::doubt(write.connection(), &gateway, offline_at).await?;
                    }
                    for gateway in forgotten {
                        gateways::forget(write.connection(), &gateway).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            })
            .await
    }

    /// Tells that nodes whose grace time is over are offline.
    async fn take_offline(&self, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let going = soft_states::going_offline(self.log.database().reader(), now).await?;
        if going.is_empty() {
            return Ok(());
        }
        let routers = self
            .log
            .soft(move |batch| {
                Box::pin(async move {
                    let mut routers = Vec::new();
                    for row in going {
                        let id = row.state.node_id;
                        let found = soft_states::by_node(batch.connection(), id).await?;
                        let still = found.filter(|row| {
                            row.state.online
                                && row
                                    .offline_at
                                    .is_some_and(|at| at <= bowline_db::to_micros(now))
                        });
                        let Some(mut row) = still else { continue };
                        let tailnet = tailnet_id(row.tailnet_id)?;
                        row.state.online = false;
                        row.offline_at = None;
                        row.state.soft_revision = batch.revision(tailnet).await?;
                        soft_states::put(batch.connection(), &row).await?;
                        let node = nodes::by_id(batch.connection(), row.tailnet_id, id).await?;
                        if node.is_some_and(|node| routes::usable(&node).next().is_some()) {
                            routers.push(row.tailnet_id);
                        }
                    }
                    routers.dedup();
                    Ok::<_, RegistryError>(routers)
                })
            })
            .await?;
        for tailnet in routers {
            self.elect(tailnet).await?;
        }
        Ok(())
    }
}
