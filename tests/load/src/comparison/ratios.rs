//! How many times better one server is than another, row by row and on the whole.

use std::collections::BTreeMap;

use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;

use crate::{
    machine::MeasuredMachine,
    markdown::markdown_table,
    reading::RunReading::{
        self, BytesPerMessage, CpuPerOperation, CpuSeconds, Figure, Latency, Rate, Seconds,
    },
    report::{RunReport, short},
    table::other_cores,
    trend::{geometric_mean, median},
};

/// The heads of the columns.
const HEADS: [&str; 5] = ["", "metric", "headscale", "Bowline", "ratio"];

/// What is compared: the metric's number, the metric with its unit, what is read of a run, and which of two figures.
const ROWS: [(&str, &str, RunReading, usize); 19] = [
    (
        "P1",
        "registrations a second, 64 at a time",
        Rate("register"),
        0,
    ),
    (
        "P1",
        "CPU for each registration, ms",
        CpuPerOperation("register"),
        0,
    ),
    (
        "P2",
        "registration alone, p50 ms",
        Latency("register alone"),
        0,
    ),
    (
        "P2",
        "registration alone, p99 ms",
        Latency("register alone"),
        1,
    ),
    (
        "P3",
        "connection to first map alone, p50 ms",
        Latency("connect alone"),
        0,
    ),
    (
        "P3",
        "connection to first map alone, p99 ms",
        Latency("connect alone"),
        1,
    ),
    (
        "P4",
        "all at once: last first map, s",
        Seconds("connect"),
        0,
    ),
    (
        "P4",
        "all at once: CPU each until at rest, ms",
        CpuPerOperation("connect"),
        0,
    ),
    (
        "P5",
        "endpoint told to each peer, p50 ms",
        Latency("changes"),
        0,
    ),
    (
        "P5",
        "endpoint told to each peer, p99 ms",
        Latency("changes"),
        1,
    ),
    (
        "P6",
        "CPU for each change, ms",
        CpuPerOperation("changes"),
        0,
    ),
    (
        "P7",
        "bytes to each peer for each change",
        BytesPerMessage("changes"),
        0,
    ),
    (
        "P8",
        "one rule for two people: last peer, s",
        Seconds("policy: two people"),
        0,
    ),
    (
        "P8",
        "one rule for two people: CPU-s",
        CpuSeconds("policy: two people"),
        0,
    ),
    (
        "P9",
        "key ended: last peer told, p50 ms",
        Latency("expire"),
        0,
    ),
    (
        "P9",
        "key ended: last peer told, p99 ms",
        Latency("expire"),
        1,
    ),
    (
        "P10",
        "memory for each idle stream, KiB",
        Figure("idle", "KiB for each stream"),
        0,
    ),
    (
        "P12",
        "killed and started: all back, s",
        Seconds("crash"),
        0,
    ),
    ("P12", "killed and started: CPU-s", CpuSeconds("crash"), 0),
];

/// Both servers, one after the other.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// What the one did.
    pub headscale: RunReport,
    /// What the other did.
    pub bowline: RunReport,
}

/// One row: medians of all pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatioRow {
    /// The metric's number.
    pub number: String,
    /// The metric, with its unit.
    pub metric: String,
    /// The figure of headscale.
    pub headscale: f64,
    /// The figure of Bowline.
    pub bowline: f64,
    /// How many times better Bowline is.
    pub ratio: f64,
    /// Whether headscale was not waited for to the end: its figure, and the ratio, are at least so large.
    pub is_cut_off: bool,
}

/// The whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct ComparisonPage {
    /// Where and when it was made.
    pub machine: MeasuredMachine,
    /// The command that made it.
    pub command: String,
    /// The most cores that other programs used in one of the runs, on average.
    pub other_cores: f64,
    /// Differences that were found in views at Bowline.
    pub bowline_faults: usize,
    /// Differences that were found in views at headscale.
    pub headscale_faults: usize,
    /// The rows.
    pub rows: Vec<RatioRow>,
    /// The mean of all metrics: of the rows of a metric first, so that each weighs as much.
    pub mean: Option<f64>,
}

impl ComparisonPage {
    /// Compares the two of each pair.
    pub(super) fn new(machine: MeasuredMachine, command: String, pairs: &[Pair]) -> Self {
        let all = pairs
            .iter()
            .flat_map(|pair| [&pair.headscale, &pair.bowline]);
        let rows: Vec<_> = ROWS
            .iter()
            .filter_map(|row| ratio_row(row, pairs))
            .collect();
        Self {
            machine,
            command,
            other_cores: all.map(other_cores).fold(0.0, f64::max),
            bowline_faults: faults(pairs.iter().map(|pair| &pair.bowline)),
            headscale_faults: faults(pairs.iter().map(|pair| &pair.headscale)),
            mean: mean_ratio(&rows),
            rows,
        }
    }

    /// Returns the row with the worst ratio.
    #[must_use]
    pub fn worst(&self) -> Option<&RatioRow> {
        let rows = self.rows.iter();
        rows.min_by(|one, other| one.ratio.total_cmp(&other.ratio))
    }

    /// Says whether every view was right at Bowline.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.bowline_faults == 0
    }

    /// Returns the comparison for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(HEADS);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        format!("{}\n\n{table}\n\n{}\n", self.heading(), self.summary())
    }

    /// Returns the comparison for a page.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let rows = markdown_table(HEADS, self.rows.iter().map(RatioRow::cells));
        format!("{}\n\n{rows}\n{}\n", self.heading(), self.summary())
    }

    fn heading(&self) -> String {
        format!(
            "`{}` on {}; other programs used at most {} cores in a run. Faults in views: {} at headscale, {} at Bowline. \
             headscale can not disable nodes or suspend users, so that is left out.",
            self.command,
            self.machine.to_text(),
            short(self.other_cores),
            self.headscale_faults,
            self.bowline_faults
        )
    }

    fn summary(&self) -> String {
        let mean = self.mean.map_or("-".to_owned(), short);
        let worst = self.worst().map_or("-".to_owned(), |row| {
            format!("{} ({})", short(row.ratio), row.metric)
        });
        format!("Geometric mean of P1 to P10 and P12: {mean}. Worst ratio: {worst}.")
    }
}

impl RatioRow {
    fn cells(&self) -> [String; 5] {
        let sign = if self.is_cut_off { "> " } else { "" };
        [
            self.number.clone(),
            self.metric.clone(),
            format!("{sign}{}", short(self.headscale)),
            short(self.bowline),
            format!("{sign}{}", short(self.ratio)),
        ]
    }
}

fn faults<'a>(reports: impl Iterator<Item = &'a RunReport>) -> usize {
    let phases = reports.flat_map(|report| &report.phases);
    phases.map(|phase| phase.fault_count).sum()
}

fn ratio_row(row: &(&str, &str, RunReading, usize), pairs: &[Pair]) -> Option<RatioRow> {
    let (number, metric, reading, place) = *row;
    let middle = |report: fn(&Pair) -> &RunReport| {
        let figures = pairs.iter().map(|pair| reading.of(report(pair)));
        median(
            figures
                .filter_map(|of_run| of_run.get(place).copied())
                .collect(),
        )
    };
    let (headscale, bowline) = (
        middle(|pair| &pair.headscale)?,
        middle(|pair| &pair.bowline)?,
    );
    let ratio = match reading.is_rate() {
        true => bowline / headscale,
        false => headscale / bowline,
    };
    let is_cut_off = pairs.iter().any(|pair| {
        let phase = pair.headscale.phase(reading.phase());
        phase.is_some_and(|phase| phase.is_cut_off)
    });
    ratio.is_finite().then(|| RatioRow {
        number: number.to_owned(),
        metric: metric.to_owned(),
        headscale,
        bowline,
        ratio,
        is_cut_off,
    })
}

fn mean_ratio(rows: &[RatioRow]) -> Option<f64> {
    let mut metrics: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.ratio > 0.0) {
        metrics.entry(&row.number).or_default().push(row.ratio);
    }
    geometric_mean(metrics.into_values().filter_map(geometric_mean))
}

#[cfg(test)]
mod tests;
