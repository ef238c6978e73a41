//! Nodes that join one after the other.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

use crate::{
    pace::run_at_rate,
    report::{LatencySummary, PhaseReport},
    roster::Presence,
    run::Run,
};

/// How many nodes join one after the other.
const JOINS: usize = 10;

impl Run {
    /// Lets nodes join at the rate that is wanted: each registers, and then connects.
    pub async fn join(&mut self) -> Result<()> {
        let begin = self.fleet.nodes.len();
        self.add_nodes(JOINS);
        let newcomers = self.fleet.nodes[begin..].to_vec();
        let keys = self.administration.auth_keys.clone();
        let (context, patience) = (Arc::clone(&self.fleet.context), self.patience);
        let meter = self.begin_phase();
        let outcomes = run_at_rate(JOINS, self.options.rate, |number, intended| {
            let (node, context) = (Arc::clone(&newcomers[number]), Arc::clone(&context));
            let key = keys[node.person].clone();
            async move {
                node.register(&context, &key).await?;
                let registered = intended.elapsed();
                let asked = Instant::now();
                node.connect(&context, asked);
                let deadline = asked + patience;
                while node.waited().is_none() && Instant::now() < deadline {
                    sleep_until(Instant::now() + Duration::from_millis(1)).await;
                }
                Ok((registered, node.waited()))
            }
        });
        let outcomes: Vec<_> = outcomes.await.into_iter().collect::<Result<_>>()?;
        let faults = self.enroll_nodes().await?;
        for place in begin..self.fleet.nodes.len() {
            self.roster.node_mut(place).presence = Presence::Online;
        }
        let (mut report, _) = self.settle_phase("joins", &meter, |_| false).await;
        if let Some(registered) = LatencySummary::of(outcomes.iter().map(|(took, _)| *took)) {
            report.figures.insert("ms to register, p50", registered.p50);
            report
                .figures
                .insert("ms to register, the longest", registered.max);
        }
        report.fault_count += faults.len();
        report.faults.extend(faults);
        self.keep(PhaseReport {
            operations: JOINS,
            latency_ms: LatencySummary::of(outcomes.into_iter().filter_map(|(_, waited)| waited)),
            ..report
        });
        Ok(())
    }
}
