//! Many histories on one database at once, round by round: time and crashes are the same for all.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};

use crate::{
    counts::AnswerCounts,
    history::{BatchPlan, History},
    node_calls,
    planted::PlantedBug,
    run::{HistoryFailure, HistoryRun},
    services::TestReplicas,
};

/// How many histories are under way at the same time.
const MOST_AT_ONCE: usize = 64;

/// What became of the histories of a batch.
#[derive(Clone, Debug, Default)]
pub struct BatchOutcome {
    /// Why each failed, if it did, in their order.
    pub failures: Vec<Option<HistoryFailure>>,
    /// What was answered how often.
    pub counts: AnswerCounts,
}

/// Runs histories, each in a tailnet of its own; `name` tells the tailnets of one batch from those of another.
pub async fn run_batch(
    services: &TestReplicas,
    plan: &BatchPlan,
    name: &str,
    histories: Vec<History>,
    bug: Option<PlantedBug>,
) -> BatchOutcome {
    node_calls::introduce_gateway(services).await;
    let starting = histories.into_iter().enumerate().map(|(index, history)| {
        HistoryRun::start(services, format!("{name}-{index}"), history, bug)
    });
    let mut runs: Vec<_> = stream::iter(starting)
        .buffered(MOST_AT_ONCE)
        .collect()
        .await;
    for (round, plan) in plan.rounds.iter().enumerate() {
        services.advance(plan.pause);
        if plan.is_swept {
            services.await_sweep().await;
        }
        runs.iter_mut().for_each(HistoryRun::note_time);
        let crashing_after = runs.len() / 2;
        let mut acting = stream::iter(runs.iter_mut())
            .map(|run| run.act(round, *plan))
            .buffer_unordered(MOST_AT_ONCE);
        let mut acted = 0;
        while acting.next().await.is_some() {
            acted += 1;
            if let Some(replica) = plan.crashing.filter(|_| acted == crashing_after.max(1)) {
                services.crash(replica);
            }
        }
        drop(acting);
        if let Some(replica) = plan.crashing {
            services.restart(replica).await;
        }
        if plan.is_look {
            let looking = runs.iter_mut().map(|run| run.look(round));
            stream::iter(looking)
                .buffer_unordered(MOST_AT_ONCE)
                .collect::<()>()
                .await;
        }
    }
    check_ids(&runs);
    let mut counts = AnswerCounts::default();
    runs.iter().for_each(|run| counts.extend(run.counts()));
    BatchOutcome {
        failures: runs.iter().map(|run| run.failure().cloned()).collect(),
        counts,
    }
}

/// Checks that no two tailnets had a node of the same id.
fn check_ids(runs: &[HistoryRun<'_>]) {
    let mut seen = BTreeSet::new();
    for id in runs.iter().flat_map(HistoryRun::node_ids) {
        assert!(seen.insert(id), "nodes of two tailnets have the id {id}");
    }
}
