//! Tailnets beside the one under load.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::{
    pace::run_in_parallel,
    quiet_tailnet::QuietTailnet,
    report::{LatencySummary, PhaseReport},
    run::{PhaseMeter, Run},
};

/// How many of them are made at once.
const AT_ONCE: usize = 8;

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Run {
    /// Makes the tailnets that are wanted beside the one under load, with two nodes each that connect; then nothing happens for
    /// a while.
    pub async fn start_other_tailnets(&mut self) -> Result<()> {
        let count = usize::try_from(self.options.other_tailnets)?;
        let before = self.server_memory();
        let meter = self.begin_phase();
        let pieces = (0..count).map(|number| {
            let access = self.target.access.clone();
            let context = Arc::clone(&self.fleet.context);
            QuietTailnet::start(number, access, context)
        });
        let made = run_in_parallel(pieces, AT_ONCE).await;
        self.others = made.into_iter().collect::<Result<_>>()?;
        let deadline = Instant::now() + self.patience;
        let mut waited = Vec::new();
        for tailnet in &self.others {
            waited.extend(tailnet.wait_for_maps(deadline).await);
        }
        let mut report = self.check_other_tailnets("other tailnets", &meter).await;
        report.fault_count += waited.iter().filter(|waited| waited.is_none()).count();
        report.latency_ms = LatencySummary::of(waited.into_iter().flatten());
        let mebibytes = grown(&before, &report.memory);
        let figures = &mut report.figures;
        figures.insert("KiB for each tailnet", mebibytes * 1024.0 / count as f64);
        if let Some(size) = tokio::task::block_in_place(|| self.target.database_mebibytes())? {
            figures.insert("MiB of the database", size);
        }
        self.keep(report);

        let meter = self.begin_phase();
        sleep(Duration::from_secs(self.options.seconds.into())).await;
        let mut report = self
            .check_other_tailnets("other tailnets, idle", &meter)
            .await;
        report.seconds = meter.began.elapsed().as_secs_f64();
        let cores = report.server_cpu_seconds() / report.seconds;
        report.figures.insert("cores of the server", cores);
        self.keep(report);
        Ok(())
    }

    /// Looks whether the nodes of the other tailnets know what they did, after all that happened beside them.
    pub async fn finish_other_tailnets(&mut self) {
        if !self.others.is_empty() {
            let meter = self.begin_phase();
            let report = self.check_other_tailnets("other tailnets, at the end", &meter);
            let report = report.await;
            self.keep(report);
        }
    }

    async fn check_other_tailnets(&mut self, phase: &str, meter: &PhaseMeter) -> PhaseReport {
        let (mut report, _) = self.settle_phase(phase, meter, |_| false).await;
        for tailnet in &mut self.others {
            let (views, faults) = tailnet.check();
            report.views += views;
            report.fault_count += faults.len();
            report.faults.extend(faults);
        }
        report.operations = self.others.len();
        report
    }
}

fn grown(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> f64 {
    after.values().sum::<f64>() - before.values().sum::<f64>()
}
