//! The table as people read it.

use comfy_table::{Table, presets::NOTHING};
use serde::{Deserialize, Serialize};

use super::{
    DoneRun,
    goals::{FIXED_PEERS_EXPONENT, GOALS, TableGoal, TableRun, WantedFigures},
};
use crate::{
    machine::MeasuredMachine,
    markdown::markdown_table,
    reading::RunReading,
    report::{PhaseReport, RunReport, short},
    trend::exponent,
};

/// The heads of the columns.
const HEADS: [&str; 7] = ["", "metric", "where", "figure", "goal", "met", "scoped"];

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableLine {
    /// The metric's number.
    pub number: String,
    /// The metric, with its unit.
    pub metric: String,
    /// Which server, how many nodes.
    pub place: String,
    /// What was measured; `-` where nothing was.
    pub figure: String,
    /// What is wanted; empty where nothing is.
    pub goal: String,
    /// Whether the figure is what is wanted.
    pub is_met: Option<bool>,
    /// The same where people reach their own nodes alone.
    pub scoped: String,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TablePage {
    /// Where and when it was made.
    pub machine: MeasuredMachine,
    /// The command that made it.
    pub command: String,
    /// The most cores that other programs used in one of the runs, on average.
    pub other_cores: f64,
    /// How many views were compared.
    pub views: usize,
    /// How many differences were found in them.
    pub faults: usize,
    /// What hindered a run.
    pub errors: Vec<String>,
    /// The rows.
    pub lines: Vec<TableLine>,
}

impl TablePage {
    pub(super) fn new(machine: MeasuredMachine, command: &str) -> Self {
        Self {
            machine,
            command: command.to_owned(),
            other_cores: 0.0,
            views: 0,
            faults: 0,
            errors: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Says whether every run was done, and every view was right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.errors.is_empty() && self.faults == 0 && self.views > 0
    }

    /// Reads all rows anew from the runs that were done.
    pub(super) fn read(&mut self, runs: &[DoneRun]) {
        let reports = || runs.iter().filter_map(|run| run.report.as_ref());
        let phases = || reports().flat_map(|report| &report.phases);
        self.views = phases().map(|phase| phase.views).sum();
        self.faults = phases().map(|phase| phase.fault_count).sum();
        self.other_cores = reports().map(other_cores).fold(0.0, f64::max);
        let errors = runs.iter().filter_map(|run| {
            let error = run.error.as_ref()?;
            Some(format!("{}: {error}", run.arguments))
        });
        self.errors = errors.collect();
        self.lines = GOALS.iter().flat_map(|goal| lines(goal, runs)).collect();
        self.lines.extend(growth_lines(runs));
    }

    /// Returns the table for a terminal.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(HEADS);
        for line in &self.lines {
            table.add_row(line.cells());
        }
        format!("{}\n\n{table}\n", self.heading())
    }

    /// Returns the table for a page: rows with a goal, and then those without.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let (wanted, shown): (Vec<_>, Vec<_>) =
            self.lines.iter().partition(|line| !line.goal.is_empty());
        let wanted = markdown_table(HEADS, wanted.into_iter().map(TableLine::cells));
        let shown = shown.into_iter().map(|line| {
            let [number, metric, place, figure, _, _, scoped] = line.cells();
            [number, metric, place, figure, scoped]
        });
        let [number, metric, place, figure, _, _, scoped] = HEADS;
        let shown = markdown_table([number, metric, place, figure, scoped], shown);
        format!("{}\n\n{wanted}\nWithout a goal:\n\n{shown}", self.heading())
    }

    fn heading(&self) -> String {
        let mut text = format!(
            "`{}` on {}; other programs used at most {} cores in a run. {} views compared, {} faults.",
            self.command,
            self.machine.to_text(),
            short(self.other_cores),
            self.views,
            self.faults
        );
        for error in &self.errors {
            text.push_str(&format!("\nNot done: {error}"));
        }
        text
    }
}

impl TableLine {
    fn cells(&self) -> [String; 7] {
        let met = match self.is_met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        [
            self.number.clone(),
            self.metric.clone(),
            self.place.clone(),
            self.figure.clone(),
            self.goal.clone(),
            met.to_owned(),
            self.scoped.clone(),
        ]
    }
}

impl WantedFigures {
    /// Says whether figures are as wanted; `None` where nothing is wanted, or nothing was measured.
    fn are_met_by(self, figures: &[f64]) -> Option<bool> {
        match self {
            _ if figures.is_empty() => None,
            Self::AtMost(most) => Some(
                figures
                    .iter()
                    .zip(most)
                    .all(|(figure, most)| figure <= most),
            ),
            Self::AtLeast(least) => Some(figures.iter().all(|figure| *figure >= least)),
            Self::Shown => None,
        }
    }

    fn to_text(self) -> String {
        match self {
            Self::AtMost(most) => {
                let most: Vec<_> = most.iter().map(f64::to_string).collect();
                format!("≤ {}", most.join(" / "))
            }
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::Shown => String::new(),
        }
    }
}

fn report_of(runs: &[DoneRun], run: TableRun) -> Option<&RunReport> {
    runs.iter().find(|done| done.run == run)?.report.as_ref()
}

/// Returns the rows of a metric, for the runs that were done.
fn lines(goal: &TableGoal, runs: &[DoneRun]) -> Vec<TableLine> {
    let done = goal.wanted.iter().filter_map(|(run, wanted)| {
        let report = report_of(runs, *run)?;
        let figures = goal.reading.of(report);
        let scoped = run.scoped().and_then(|run| report_of(runs, run));
        Some(TableLine {
            number: goal.number.to_owned(),
            metric: goal.metric.to_owned(),
            place: place(report),
            figure: joined(&figures),
            goal: wanted.to_text(),
            is_met: wanted.are_met_by(&figures),
            scoped: scoped.map_or(String::new(), |report| joined(&goal.reading.of(report))),
        })
    });
    done.collect()
}

/// Returns the rows of how the CPU time of a change grows.
///
/// About as many are told of a change in larger tailnets, but of an administrator's everybody is: the time is that for each.
fn growth_lines(runs: &[DoneRun]) -> Vec<TableLine> {
    let fit = |names: &[TableRun], reading: RunReading| {
        let reports = names.iter().filter_map(|run| report_of(runs, *run));
        let points: Vec<_> = reports
            .filter_map(|report| Some((f64::from(report.nodes), *reading.of(report).first()?)))
            .collect();
        exponent(&points)
    };
    let fixed = [
        TableRun::GrowthSmall,
        TableRun::GrowthMiddle,
        TableRun::GrowthLarge,
    ];
    let each = RunReading::CpuPerMessage("changes");
    let fixed = fit(&fixed, each).map(|exponent| TableLine {
        goal: format!("≤ {FIXED_PEERS_EXPONENT}"),
        is_met: Some(exponent <= FIXED_PEERS_EXPONENT),
        ..growth_line(
            "exponent of CPU for each peer told over nodes, as many peers",
            exponent,
        )
    });
    let changes = RunReading::CpuPerOperation("changes");
    let all = fit(&[TableRun::Serve, TableRun::Large], changes);
    let all = all.map(|exponent| {
        growth_line(
            "exponent of CPU for each change over nodes, all peers",
            exponent,
        )
    });
    fixed.into_iter().chain(all).collect()
}

fn growth_line(metric: &str, exponent: f64) -> TableLine {
    TableLine {
        number: "P15".to_owned(),
        metric: metric.to_owned(),
        place: "one process".to_owned(),
        figure: short(exponent),
        goal: String::new(),
        is_met: None,
        scoped: String::new(),
    }
}

fn place(report: &RunReport) -> String {
    let scoped = match &*report.policy {
        "scoped" => ", scoped",
        _ => "",
    };
    format!("{}, {} nodes{scoped}", report.target, report.nodes)
}

/// Returns figures that belong together; `-` where there are none.
fn joined(figures: &[f64]) -> String {
    match figures {
        [] => "-".to_owned(),
        figures => figures
            .iter()
            .map(|one| short(*one))
            .collect::<Vec<_>>()
            .join(" / "),
    }
}

/// Returns how many cores other programs used, on average over a run.
pub fn other_cores(report: &RunReport) -> f64 {
    let seconds = |phase: &PhaseReport| phase.measured_seconds;
    let used = report
        .phases
        .iter()
        .map(|phase| phase.other_cores * seconds(phase));
    let all = report.phases.iter().map(seconds).sum::<f64>();
    used.sum::<f64>() / all.max(0.001)
}

#[cfg(test)]
mod tests;
