//! Ends that time brings: keys, custom attributes, ephemeral nodes, presence. Each second, on any replica, by the database's time.
//!
//! Each kind of end is looked for by itself, and each tailnet's are written by themselves: what fails for one holds up
//! no other, and is tried again a second later.

mod due_ends;
mod expiry_notices;

use std::{collections::BTreeMap, time::Duration};

use bowline_db::{ChangeLog, SoftBatch, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::{MissedTickBehavior, timeout};

use crate::{
    domain::{
        self,
        fleet::{FleetAlarm, FleetHealth, Incarnation},
    },
    elections::elect_if_due,
    error::RegistryError,
    fields::read_tailnet_id,
    removal::remove_node,
    retired_keys, rotations,
    store::{
        TailnetNode, approvals, elections, gateways, nodes, rotation_rules,
        soft_states::{self, OfflineCutoff, SoftRow},
    },
};

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log is compacted.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(60);
/// How often keys are looked for that an earlier release has retired.
const RETIREMENT_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long an ephemeral node is kept that has never reported anything: its client may not reach a gateway yet.
const NEVER_SEEN_AGE: TimeDelta = TimeDelta::days(1);
/// How long one part may take: a database server that has vanished never answers.
const PART_TIMEOUT: Duration = Duration::from_secs(30);
/// How many tailnets are written at the same time.
const MOST_TAILNETS: usize = 8;
/// How many keys end in one mutation, and attributes of how many nodes.
const MOST_KEYS: usize = 100;
/// How many entries of the log are kept in any case, and for how long all are.
const KEPT_ENTRIES: u32 = 100_000;
const KEPT_AGE: Duration = Duration::from_secs(600);

/// A part of a sweep.
type SweepWork<'w> = BoxFuture<'w, Result<(), RegistryError>>;

/// Waits for one kind of end; a failure is logged, and holds up no other.
async fn attempt_part(what: &'static str, work: SweepWork<'_>) {
    match timeout(PART_TIMEOUT, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(what, %error, "a part of the sweep could not be done"),
        Err(_) => tracing::warn!(what, "a part of the sweep was not done in time"),
    }
}

/// Does the work of each tailnet, several at once; a failure is logged, and holds up no other.
async fn each_tailnet(what: &'static str, work: Vec<(u64, SweepWork<'_>)>) {
    let mut logged = Vec::with_capacity(work.len());
    for (tailnet, work) in work {
        let log_failure = move |result: Result<(), RegistryError>| {
            if let Err(error) = result {
                tracing::warn!(what, tailnet, %error, "a part of the sweep could not be done");
            }
        };
        logged.push(work.map(log_failure).boxed());
    }
    stream::iter(logged)
        .buffer_unordered(MOST_TAILNETS)
        .collect::<()>()
        .await;
}

fn group_by_tailnet<T>(all: Vec<T>, tailnet: impl Fn(&T) -> u64) -> BTreeMap<u64, Vec<T>> {
    let mut grouped = BTreeMap::<_, Vec<T>>::new();
    for one in all {
        grouped.entry(tailnet(&one)).or_default().push(one);
    }
    grouped
}

/// Ends what time ends. Clones share it.
#[derive(Clone, Debug)]
pub struct Sweeper {
    log: ChangeLog,
    offline_grace: TimeDelta,
    /// How long an ephemeral node is kept after it went offline.
    ephemeral_age: TimeDelta,
}

impl Sweeper {
    pub(crate) fn new(log: ChangeLog, offline_grace: TimeDelta, ephemeral_age: TimeDelta) -> Self {
        Self {
            log,
            offline_grace,
            ephemeral_age,
        }
    }

    /// Sweeps each second, until the process ends.
    pub(crate) async fn run(self) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut health = FleetHealth::default();
        loop {
            ticks.tick().await;
            self.sweep_once(&mut health).await;
        }
    }

    /// Compacts the log now and then, and brings rows of an older release up to date, until the process ends.
    pub(crate) async fn compact_log(self) {
        let mut ticks = tokio::time::interval(COMPACTION_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.log.compact_entries(KEPT_ENTRIES, KEPT_AGE).await {
                tracing::warn!(%error, "the log can not be compacted");
            }
            if let Err(error) = self.notice_ends().await {
                tracing::warn!(%error, "keys that end within a day can not be put on record");
            }
            if let Err(error) = self.fill_in_approval().await {
                tracing::warn!(%error, "which nodes are approved can not be filled in");
            }
            if let Err(error) = retired_keys::shrink_old_keys(&self.log).await {
                tracing::warn!(%error, "keys that were retired long ago can not be shrunk");
            }
        }
    }

    /// Looks at once, and each day, for keys that an earlier release has retired, until the process ends.
    pub(crate) async fn find_retired_keys(self) {
        let mut ticks = tokio::time::interval(RETIREMENT_INTERVAL);
        loop {
            ticks.tick().await;
            if let Err(error) = retired_keys::find_retired_keys(&self.log).await {
                tracing::warn!(%error, "retired keys can not be looked for");
            }
        }
    }

    /// An older release may still run beside this one, so that this is done again and again.
    async fn fill_in_approval(&self) -> Result<(), RegistryError> {
        loop {
            let filled = self.log.database().write(|write| {
                let filling = approvals::fill_in_approval(write.connection());
                Box::pin(async move { Ok::<_, RegistryError>(filling.await?) })
            });
            if filled.await? == 0 {
                return Ok(());
            }
        }
    }

    async fn sweep_once(&self, health: &mut FleetHealth) {
        attempt_part("rotation", self.follow_new_rules().boxed()).await;
        attempt_part("keys", self.end_due_keys().boxed()).await;
        attempt_part("attributes", self.end_due_attributes().boxed()).await;
        attempt_part("presence", self.sweep_presence(health).boxed()).await;
        attempt_part("elections", self.run_elections().boxed()).await;
    }

    async fn follow_new_rules(&self) -> Result<(), RegistryError> {
        let pending = rotation_rules::list_pending(self.log.database().reader()).await?;
        let work = pending.into_iter().map(|tailnet| {
            let following = rotations::follow_new_rules(&self.log, tailnet);
            (tailnet, following.boxed())
        });
        each_tailnet("rotation", work.collect()).await;
        Ok(())
    }

    async fn sweep_presence(&self, health: &mut FleetHealth) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        let fleet = gateways::list_gateways(self.log.database().reader()).await?;
        match health.observe_fleet(&fleet, now) {
            Some(FleetAlarm::Begins) => {
                metrics::gauge!("bowline_registry_presence_held").set(1);
                tracing::error!(
                    "most gateways have lost their leases, or leases can not be recorded: nodes stay online and none \
                     is deleted until gateways renew their leases; see whether the gateways reach the registry, and \
                     whether its database can be written"
                );
            }
            Some(FleetAlarm::Ends) => {
                metrics::gauge!("bowline_registry_presence_held").set(0);
                tracing::info!("gateways renew their leases: what ends is told again");
            }
            None => {}
        }
        let Some(ends_trusted_since) = health.ends_trusted_since() else {
            return Ok(());
        };
        attempt_part("gateways", self.forget_gateways(&fleet, now).boxed()).await;
        let ephemeral = self.ephemeral_age;
        let is_long_enough = |since: DateTime<Utc>| now - since >= ephemeral;
        let trusts_leases = health.leases_trusted_since().is_some();
        let cutoff = OfflineCutoff {
            reported: now,
            leases: trusts_leases.then(|| now - self.offline_grace),
        };
        attempt_part("offline", self.take_offline(cutoff).boxed()).await;
        if is_long_enough(ends_trusted_since)
            && health.leases_trusted_since().is_some_and(is_long_enough)
        {
            attempt_part(
                "ephemeral nodes",
                self.remove_abandoned(now - ephemeral).boxed(),
            )
            .await;
        }
        Ok(())
    }

    async fn run_elections(&self) -> Result<(), RegistryError> {
        let called = elections::list_pending(self.log.database().reader()).await?;
        let work = called
            .into_iter()
            .map(|tailnet| (tailnet, elect_if_due(&self.log, tailnet).boxed()));
        each_tailnet("elections", work.collect()).await;
        Ok(())
    }

    /// Records which gateways are gone, and forgets them once no node counts as online there.
    async fn forget_gateways(
        &self,
        fleet: &[Incarnation],
        now: DateTime<Utc>,
    ) -> Result<(), RegistryError> {
        let gone = fleet.iter().filter(|one| one.is_gone(fleet, now));
        let gone: Vec<_> = gone.cloned().collect();
        if gone.iter().all(|one| one.has_left && one.holds_nodes) {
            return Ok(());
        }
        let forgetting = self.log.database().write(move |write| {
            Box::pin(async move {
                gateways::forget_gone(write.connection(), &gone).await?;
                Ok::<_, RegistryError>(())
            })
        });
        forgetting.await
    }

    /// Deletes ephemeral nodes that have not been online since a time, and those that never were for longer.
    async fn remove_abandoned(&self, since: DateTime<Utc>) -> Result<(), RegistryError> {
        let reader = self.log.database().reader();
        let abandoned = nodes::list_abandoned(reader, since, since - NEVER_SEEN_AGE).await?;
        let abandoned = group_by_tailnet(abandoned, |node| node.tailnet_id).into_iter();
        let is_still = move |node: &Node, soft: Option<&SoftRow>| {
            let seen = soft
                .and_then(|row| row.state.last_seen)
                .and_then(domain::from_timestamp);
            let is_online = soft.is_some_and(|row| row.state.online);
            node.ephemeral
                && !node.is_kept_out()
                && !is_online
                && seen.is_none_or(|seen| seen < since)
        };
        let work = abandoned.map(|(tailnet, nodes)| {
            let removing = async move {
                // They share commits.
                let removing = nodes
                    .into_iter()
                    .map(|node| remove_node(&self.log, node, "node.abandoned", is_still));
                for removed in futures_util::future::join_all(removing).await {
                    removed?;
                }
                Ok(())
            };
            (tailnet, removing.boxed())
        });
        each_tailnet("ephemeral nodes", work.collect()).await;
        Ok(())
    }

    /// Takes the nodes offline whose grace time is over.
    async fn take_offline(&self, cutoff: OfflineCutoff) -> Result<(), RegistryError> {
        let mut after = TailnetNode::default();
        loop {
            let reader = self.log.database().reader();
            let (going, last) = soft_states::list_going_offline(reader, cutoff, after).await?;
            let Some(last) = last else { return Ok(()) };
            after = last;
            let going = group_by_tailnet(going, |row| row.tailnet_id).into_iter();
            let work = going.map(|(tailnet, rows)| {
                let telling = self.log.commit_soft_state(move |batch| {
                    Box::pin(async move {
                        for row in rows {
                            take_node_offline(batch, &row, cutoff).await?;
                        }
                        Ok::<_, RegistryError>(())
                    })
                });
                (tailnet, telling.boxed())
            });
            each_tailnet("offline", work.collect()).await;
        }
    }
}

/// Takes one node offline, unless it came back meanwhile.
async fn take_node_offline(
    batch: &mut SoftBatch,
    going: &SoftRow,
    cutoff: OfflineCutoff,
) -> Result<(), RegistryError> {
    let tailnet = read_tailnet_id(going.tailnet_id)?;
    batch.lock_tailnet(tailnet).await?;
    let found = soft_states::by_node(batch.connection(), going.state.node_id).await?;
    let Some(mut row) = found.filter(|row| row.state.online) else {
        return Ok(());
    };
    let has_session_ended = row
        .offline_at
        .is_some_and(|at| at <= to_micros(cutoff.reported));
    if has_session_ended {
        // Its session has ended: no gateway has it.
        row.gateway.clear();
    } else {
        let Some(leases) = cutoff.leases else {
            return Ok(());
        };
        let lease = gateways::lease_end(batch.connection(), &row.gateway).await?;
        if lease.is_some_and(|end| end >= to_micros(leases)) {
            return Ok(());
        }
        row.state.last_seen = Some(domain::to_timestamp(cutoff.reported));
    }
    row.state.online = false;
    row.offline_at = None;
    row.state.soft_revision = batch.take_revision(tailnet).await?;
    soft_states::put_row(batch.connection(), &row).await?;
    let node = nodes::by_id(batch.connection(), row.tailnet_id, row.state.node_id).await?;
    if node.is_some_and(|node| !node.primary_routes.is_empty()) {
        elections::mark_pending(batch.connection(), row.tailnet_id).await?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
