//! What was measured: a table for people, JSON for programs.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart, in microseconds.
const LONGEST: u64 = 600_000_000;

/// What the kernel tells CPU time apart by, in seconds.
const TICK: f64 = 0.01;

/// How long something took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How often it was measured.
    pub count: u64,
    /// Half of the times are not longer.
    pub p50: f64,
    /// 99 of 100 are not longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl LatencySummary {
    /// Sums up times; `None` when there are none.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut recorder = LatencyRecorder::default();
        times.into_iter().for_each(|time| recorder.add(time));
        recorder.summary()
    }
}

/// Counts how often something took how long.
#[derive(Debug)]
pub struct LatencyRecorder(Histogram<u64>);

impl Default for LatencyRecorder {
    fn default() -> Self {
        let bounded = Histogram::new_with_bounds(1, LONGEST, 3);
        Self(bounded.expect("three digits of these bounds can be kept"))
    }
}

impl LatencyRecorder {
    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        self.0.saturating_record(micros);
    }

    /// Sums up all times; `None` when there are none.
    pub fn summary(&self) -> Option<LatencySummary> {
        let milliseconds = |micros| Duration::from_micros(micros).as_secs_f64() * 1000.0;
        (!self.0.is_empty()).then(|| LatencySummary {
            count: self.0.len(),
            p50: milliseconds(self.0.value_at_quantile(0.5)),
            p99: milliseconds(self.0.value_at_quantile(0.99)),
            max: milliseconds(self.0.max()),
        })
    }
}

/// One phase.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PhaseReport {
    /// What was done.
    pub phase: String,
    /// How often.
    pub operations: usize,
    /// From the begin to the last effect.
    pub seconds: f64,
    /// From the begin until nothing came any more: what CPU time was counted over.
    pub measured_seconds: f64,
    /// Whether that was not waited for to its end.
    pub is_cut_off: bool,
    /// How long each operation took, or each effect of it.
    pub latency_ms: Option<LatencySummary>,
    /// CPU seconds of the server, by program, until it had come to rest.
    pub server_cpu: BTreeMap<String, f64>,
    /// CPU seconds of this program.
    pub generator_cpu: f64,
    /// Cores that programs beside both used on average.
    pub other_cores: f64,
    /// Memory of the server at the end in MiB, by program.
    pub memory: BTreeMap<String, f64>,
    /// Messages that came to nodes, without signs of life.
    pub messages: u64,
    /// Their bytes, with their lengths.
    pub bytes: u64,
    /// Those of first messages among them.
    pub first_bytes: u64,
    /// How many nodes were told anything.
    pub nodes_told: usize,
    /// How many views were compared.
    pub views: usize,
    /// How many differences were found, at the end of the wait for none.
    pub fault_count: usize,
    /// The first of them.
    pub faults: Vec<String>,
    /// How long after the last message the views were right, where they were not at once.
    pub late_seconds: f64,
    /// What went wrong on connections, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Further figures.
    pub figures: BTreeMap<&'static str, f64>,
    /// Further times.
    pub summaries: BTreeMap<&'static str, LatencySummary>,
    /// What the server held in the course of the phase, where that was looked at.
    pub samples: Vec<UsageSample>,
}

/// What the server holds at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct UsageSample {
    /// After the begin of the phase.
    pub seconds: f64,
    /// Memory of all programs.
    pub mebibytes: f64,
    /// Open descriptors of all programs.
    pub descriptors: u32,
}

impl PhaseReport {
    /// Returns the CPU seconds of all programs of the server.
    pub fn server_cpu_seconds(&self) -> f64 {
        self.server_cpu.values().sum()
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// How many nodes.
    pub nodes: u32,
    /// Who may reach whom.
    pub policy: String,
    /// What was under load.
    pub target: String,
    /// The phases in order.
    pub phases: Vec<PhaseReport>,
}

impl RunReport {
    /// Says whether every view was right, and nothing was given to liars.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.phases.iter().all(|phase| phase.fault_count == 0)
    }

    /// Returns what was measured in a phase.
    #[must_use]
    pub fn phase(&self, name: &str) -> Option<&PhaseReport> {
        self.phases.iter().find(|phase| phase.phase == name)
    }

    /// Returns the CPU seconds that the server used in a phase for what happened in it: what it uses when nothing happens is
    /// taken off, where that was measured. Less than the kernel tells apart is taken for so much.
    #[must_use]
    pub fn cpu_without_idle(&self, phase: &PhaseReport) -> f64 {
        let idle = self.phase("idle");
        let cores = idle.map_or(0.0, |idle| {
            idle.server_cpu_seconds() / idle.measured_seconds
        });
        (phase.server_cpu_seconds() - cores * phase.measured_seconds).max(TICK)
    }

    /// Returns the table with what stands below it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header([
            "phase",
            "ops",
            "seconds",
            "ops/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "server CPU s",
            "ms/op",
            "generator CPU s",
            "memory MiB",
            "messages",
            "MB",
            "told",
            "views",
            "faults",
        ]);
        for phase in &self.phases {
            table.add_row(row(phase));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!(
            "{} nodes, policy {}, {}\n\n{table}\n",
            self.nodes, self.policy, self.target
        );
        for phase in &self.phases {
            for (name, value) in &phase.figures {
                text.push_str(&format!("\n{}: {name} {}", phase.phase, short(*value)));
            }
            for (name, times) in &phase.summaries {
                let (p50, p99, max) = (short(times.p50), short(times.p99), short(times.max));
                text.push_str(&format!(
                    "\n{}: {name} p50 {p50}, p99 {p99}, the longest {max}",
                    phase.phase
                ));
            }
            if phase.server_cpu.len() > 1 {
                text.push_str(&format!("\n{}: {}", phase.phase, programs(phase)));
            }
            for (error, count) in &phase.errors {
                text.push_str(&format!("\n{}: {count} times {error}", phase.phase));
            }
            for fault in &phase.faults {
                text.push_str(&format!("\n{}: WRONG: {fault}", phase.phase));
            }
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn row(phase: &PhaseReport) -> Vec<String> {
    let per = |value: f64, count: f64| {
        if count > 0.0 {
            short(value / count)
        } else {
            "-".to_owned()
        }
    };
    let operations = phase.operations as f64;
    let latency = |part: fn(&LatencySummary) -> f64| {
        let latency = phase.latency_ms.as_ref();
        latency.map_or("-".to_owned(), |latency| short(part(latency)))
    };
    let cpu = phase.server_cpu_seconds();
    vec![
        phase.phase.clone(),
        phase.operations.to_string(),
        short(phase.seconds),
        per(operations, phase.seconds),
        latency(|latency| latency.p50),
        latency(|latency| latency.p99),
        latency(|latency| latency.max),
        short(cpu),
        per(1000.0 * cpu, operations),
        short(phase.generator_cpu),
        short(phase.memory.values().sum()),
        phase.messages.to_string(),
        short(phase.bytes as f64 / 1e6),
        phase.nodes_told.to_string(),
        phase.views.to_string(),
        phase.fault_count.to_string(),
    ]
}

/// Tells what each program of the server used and holds.
fn programs(phase: &PhaseReport) -> String {
    let of_each = phase.server_cpu.iter().map(|(name, cpu)| {
        let memory = phase.memory.get(name).copied().unwrap_or(0.0);
        format!("{name} {} s, {} MiB", short(*cpu), short(memory))
    });
    of_each.collect::<Vec<_>>().join("; ")
}

/// Writes a figure with three digits that count.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests;
