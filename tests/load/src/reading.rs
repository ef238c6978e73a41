//! What is read out of a run for a table.

use crate::report::{LatencySummary, PhaseReport, RunReport};

/// One figure of a phase, or two that belong together.
#[derive(Clone, Copy, Debug)]
pub enum RunReading {
    /// Operations a second.
    Rate(&'static str),
    /// Seconds to the last effect.
    Seconds(&'static str),
    /// CPU seconds of the server.
    CpuSeconds(&'static str),
    /// CPU milliseconds of the server for each operation.
    CpuPerOperation(&'static str),
    /// CPU milliseconds of the server for each message to a node.
    CpuPerMessage(&'static str),
    /// Bytes for each message to a node.
    BytesPerMessage(&'static str),
    /// Half of the times in milliseconds are not longer, and 99 of 100.
    Latency(&'static str),
    /// The longest of further times.
    Longest(&'static str, &'static str),
    /// A further figure.
    Figure(&'static str, &'static str),
}

impl RunReading {
    /// Returns the phase that it is read from.
    pub fn phase(self) -> &'static str {
        match self {
            Self::Rate(phase)
            | Self::Seconds(phase)
            | Self::CpuSeconds(phase)
            | Self::CpuPerOperation(phase)
            | Self::CpuPerMessage(phase)
            | Self::BytesPerMessage(phase)
            | Self::Latency(phase)
            | Self::Longest(phase, _)
            | Self::Figure(phase, _) => phase,
        }
    }

    /// Says whether more is better.
    pub fn is_rate(self) -> bool {
        matches!(self, Self::Rate(_))
    }

    /// Reads it; empty where it was not measured.
    pub fn of(self, run: &RunReport) -> Vec<f64> {
        let phase = run.phase(self.phase());
        phase
            .and_then(|phase| self.of_phase(run, phase))
            .unwrap_or_default()
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of_phase(self, run: &RunReport, phase: &PhaseReport) -> Option<Vec<f64>> {
        let operations = phase.operations.max(1) as f64;
        let both = |times: LatencySummary| vec![times.p50, times.p99];
        let one = match self {
            Self::Rate(_) => operations / phase.seconds,
            Self::Seconds(_) => phase.seconds,
            Self::CpuSeconds(_) => run.cpu_without_idle(phase),
            Self::CpuPerOperation(_) => run.cpu_without_idle(phase) * 1000.0 / operations,
            Self::CpuPerMessage(_) => {
                run.cpu_without_idle(phase) * 1000.0 / phase.messages.max(1) as f64
            }
            Self::BytesPerMessage(_) => phase.bytes as f64 / phase.messages.max(1) as f64,
            Self::Latency(_) => return phase.latency_ms.map(both),
            Self::Longest(_, name) => phase.summaries.get(name)?.max,
            Self::Figure(_, name) => *phase.figures.get(name)?,
        };
        Some(vec![one])
    }
}
