//! What one node waits for while nothing else happens.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use crate::{
    link::NodeMode,
    report::{LatencySummary, PhaseReport},
    run::Run,
};

impl Run {
    /// Registers the nodes that are not registered yet, one after the other; nobody is connected.
    pub async fn register_alone(&mut self) -> Result<()> {
        let meter = self.begin_phase();
        let mut took = Vec::new();
        for node in &self.fleet.nodes[self.roster.nodes().len()..] {
            let began = Instant::now();
            let key = &self.administration.auth_keys[node.person];
            node.register(&self.fleet.context, key).await?;
            took.push(began.elapsed());
        }
        let faults = self.enroll_nodes().await?;
        let (report, _) = self.settle_phase("register alone", &meter, |_| false).await;
        self.keep(PhaseReport {
            operations: took.len(),
            seconds: took.iter().sum::<Duration>().as_secs_f64(),
            latency_ms: LatencySummary::of(took),
            fault_count: faults.len(),
            faults,
            ..report
        });
        Ok(())
    }

    /// Lets nodes go and come back, one after the other; each time all has come to rest before.
    pub async fn connect_alone(&mut self) -> Result<()> {
        let mut places = self.present_places();
        places.retain(|place| self.fleet.nodes[*place].mode == NodeMode::Healthy);
        let count = places.len().min(self.options.lone_nodes());
        let meter = self.begin_phase();
        let mut waited = Vec::new();
        for number in 0..count {
            let node = Arc::clone(&self.fleet.nodes[places[number * places.len() / count]]);
            node.disconnect();
            self.wait_for_rest().await;
            let asked = Instant::now();
            node.connect(&self.fleet.context, asked);
            let deadline = asked + self.patience;
            self.fleet.wait_for_maps(&[node.place], deadline).await;
            waited.extend(node.waited());
            self.wait_for_rest().await;
        }
        let (mut report, _) = self.settle_phase("connect alone", &meter, |_| false).await;
        report.fault_count += count - waited.len();
        self.keep(PhaseReport {
            operations: count,
            seconds: waited.iter().sum::<Duration>().as_secs_f64(),
            latency_ms: LatencySummary::of(waited),
            ..report
        });
        Ok(())
    }

    async fn wait_for_rest(&self) {
        let deadline = Instant::now() + self.patience;
        self.fleet.wait_for_quiet(deadline).await;
    }
}
