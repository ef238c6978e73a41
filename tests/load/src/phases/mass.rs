//! What all nodes do at once: register, connect, report, come back.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::{
    pace::run_in_parallel,
    probe::KeyProber,
    report::{LatencySummary, PhaseReport},
    roster::Presence,
    run::{PhaseMeter, Run},
};

/// How many registrations are under way at once.
const REGISTRATIONS: usize = 64;

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Run {
    /// Registers all nodes, so many at a time.
    pub async fn register(&mut self) -> Result<()> {
        let meter = self.begin_phase();
        let nodes = self.fleet.nodes.clone();
        let pieces = nodes.into_iter().map(|node| {
            let context = Arc::clone(&self.fleet.context);
            let key = self.administration.auth_keys[node.person].clone();
            async move {
                let began = Instant::now();
                node.register(&context, &key)
                    .await
                    .map(|()| began.elapsed())
            }
        });
        let outcomes = run_in_parallel(pieces, REGISTRATIONS).await;
        let seconds = meter.began.elapsed().as_secs_f64();
        let took: Vec<_> = outcomes.into_iter().collect::<Result<_>>()?;
        let faults = self.enroll_nodes().await?;
        let (mut report, _) = self.settle_phase("register", &meter, |_| false).await;
        if let Some(size) = tokio::task::block_in_place(|| self.target.database_mebibytes())? {
            report.figures.insert("MiB of the database", size);
        }
        self.keep(PhaseReport {
            operations: took.len(),
            seconds,
            latency_ms: LatencySummary::of(took),
            fault_count: faults.len(),
            faults,
            ..report
        });
        Ok(())
    }

    /// Lets all nodes connect at once.
    pub async fn connect(&mut self) -> Result<()> {
        let prober = KeyProber::start(self.target.gateways.clone());
        let meter = self.begin_phase();
        for node in &self.fleet.nodes {
            node.connect(&self.fleet.context, meter.began);
        }
        self.finish_connecting("connect", &meter, prober).await;
        Ok(())
    }

    /// Cuts all connections at once, and lets all nodes come back; those that went wrong are well again.
    pub async fn reconnect(&mut self) -> Result<()> {
        for node in self.nodes_at(&self.present_places()) {
            node.set_wrong(false);
            node.disconnect();
        }
        let prober = KeyProber::start(self.target.gateways.clone());
        let meter = self.begin_phase();
        for node in self.nodes_at(&self.present_places()) {
            node.connect(&self.fleet.context, meter.began);
        }
        self.finish_connecting("reconnect", &meter, prober).await;
        Ok(())
    }

    /// Kills all gateways and starts them again; nodes come back by themselves.
    pub async fn crash(&mut self) -> Result<()> {
        for node in self.nodes_at(&self.present_places()) {
            node.set_wrong(false);
        }
        let prober = KeyProber::start(self.target.gateways.clone());
        let meter = self.begin_phase();
        for node in self.nodes_at(&self.present_places()) {
            node.expect_map(meter.began);
        }
        // Starting waits for programs; the nodes go on meanwhile.
        let were_started = tokio::task::block_in_place(|| self.target.crash_gateways())?;
        if were_started {
            self.finish_connecting("crash", &meter, prober).await;
        }
        Ok(())
    }

    async fn finish_connecting(&mut self, phase: &str, meter: &PhaseMeter, prober: KeyProber) {
        let places = self.present_places();
        let missing = self
            .fleet
            .wait_for_maps(&places, meter.began + self.patience)
            .await;
        let probes = tokio::task::block_in_place(|| prober.finish());
        for place in &places {
            self.roster.node_mut(*place).presence = Presence::Online;
        }
        let waited: Vec<Duration> = places
            .iter()
            .filter_map(|place| self.fleet.nodes[*place].waited())
            .collect();
        let (mut report, _) = self.settle_phase(phase, meter, |_| false).await;
        let over_first = report.bytes as f64 / report.first_bytes.max(1) as f64;
        let figures = &mut report.figures;
        figures.insert("bytes over those of first messages", over_first);
        figures.insert("seconds until all had come to rest", report.seconds);
        figures.insert("nodes without a netmap", missing as f64);
        figures.insert("GET /key without an answer", probes.unanswered as f64);
        figures.insert(
            "connections that failed",
            report.errors.values().sum::<u64>() as f64,
        );
        let last = waited.iter().max().copied().unwrap_or_default();
        let right = report.seconds + report.late_seconds - last.as_secs_f64();
        figures.insert(
            "seconds from the last map until all was right",
            right.max(0.0),
        );
        if let Some(times) = LatencySummary::of(probes.took) {
            report.summaries.insert("ms to answer GET /key", times);
        }
        if missing > 0 {
            report.fault_count += missing;
            report
                .faults
                .push(format!("{missing} nodes have no netmap"));
        }
        self.keep(PhaseReport {
            operations: waited.len(),
            seconds: last.as_secs_f64(),
            latency_ms: LatencySummary::of(waited),
            ..report
        });
    }

    /// Lets every node report an endpoint at once.
    pub async fn report_all(&mut self) -> Result<()> {
        let places = self.present_places();
        let mut pieces = Vec::new();
        let meter = self.begin_phase();
        for node in self.nodes_at(&places) {
            let endpoint = self.next_endpoint();
            let entry = self.roster.node_mut(node.place);
            (entry.endpoint, entry.disco) = (Some(endpoint), Some(node.disco));
            let context = Arc::clone(&self.fleet.context);
            pieces.push(async move {
                let answered = node.report(&context, endpoint).await;
                answered.map(|()| meter.began.elapsed())
            });
        }
        let count = pieces.len();
        let outcomes = run_in_parallel(pieces, count).await;
        let took: Vec<_> = outcomes.into_iter().collect::<Result<_>>()?;
        let (report, _) = self.settle_phase("reports", &meter, |_| false).await;
        self.keep(PhaseReport {
            operations: count,
            latency_ms: LatencySummary::of(took),
            ..report
        });
        Ok(())
    }

    /// Lets nothing happen for a while, for what it costs and holds.
    pub async fn idle(&mut self) -> Result<()> {
        let meter = self.begin_phase();
        let seconds = f64::from(self.options.seconds);
        sleep(Duration::from_secs_f64(seconds)).await;
        let (mut report, _) = self.settle_phase("idle", &meter, |_| false).await;
        let cores = report.server_cpu_seconds() / meter.began.elapsed().as_secs_f64();
        report.figures.insert("cores of the server", cores);
        let of_clients = |report: &PhaseReport| -> f64 {
            let programs = report.memory.iter();
            let holds_streams = |name: &str| {
                name == "bowline" || name.ends_with("gateway") || name.starts_with("headscale")
            };
            let those = programs.filter(|(name, _)| holds_streams(name));
            those.map(|(_, mebibytes)| mebibytes).sum()
        };
        let registered = self.earlier("register alone");
        if let Some(registered) = registered.or_else(|| self.earlier("register")) {
            let grown = of_clients(&report) - of_clients(registered);
            let streams = self.present_places().len() as f64;
            report
                .figures
                .insert("KiB for each stream", grown * 1024.0 / streams);
        }
        self.keep(PhaseReport { seconds, ..report });
        Ok(())
    }
}
