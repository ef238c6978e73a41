//! The whole table in one go: run after run, each on a server of its own.

mod goals;
mod page;
mod plan;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Parser as _, ValueEnum};
use serde::Serialize;

pub use self::page::{TableLine, TablePage, other_cores};
use self::{goals::TableRun, plan::planned_runs};
use crate::{machine::MeasuredMachine, options::Options, report::RunReport, run::run_load};

/// Makes the table of what everything costs, beside what is wanted.
#[derive(Clone, Debug, Args)]
pub struct TableOptions {
    /// With few nodes, only to see that it works: in a minute instead of half an hour.
    #[arg(long)]
    pub quick: bool,
    /// How the table is printed.
    #[arg(long, value_enum, default_value_t = PageForm::Text)]
    pub output: PageForm,
    /// A file for the table and all that was measured, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Prints the table of such a file, and measures nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "json"])]
    pub from: Option<PathBuf>,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageForm {
    /// For a terminal.
    Text,
    /// For a page.
    Markdown,
    /// For programs, without what it was made from.
    Json,
}

/// One run, and what came of it.
#[derive(Debug, Serialize)]
pub struct DoneRun {
    /// What `bowline-load` does the same with.
    pub arguments: String,
    /// What was measured.
    pub report: Option<RunReport>,
    /// Why nothing was.
    pub error: Option<String>,
    #[serde(skip)]
    run: TableRun,
}

/// The table with what it was made from.
#[derive(Debug, Serialize)]
struct WholeTable<'a> {
    table: &'a TablePage,
    runs: &'a [DoneRun],
}

/// Does all runs, and makes the table; each run and phase that begins is told.
///
/// # Errors
///
/// When a file can not be read or written. What hinders a run is a line of the table.
pub async fn make_table(options: &TableOptions, tell: fn(&str)) -> Result<TablePage> {
    if let Some(file) = &options.from {
        let text = fs::read(file).with_context(|| file.display().to_string())?;
        let mut whole: serde_json::Value = serde_json::from_slice(&text)?;
        return Ok(serde_json::from_value(whole["table"].take())?);
    }
    let machine = MeasuredMachine::look();
    let command = match options.quick {
        true => "bowline-load table --quick",
        false => "bowline-load table",
    };
    let mut page = TablePage::new(machine, command);
    let mut runs = Vec::new();
    for (run, arguments) in planned_runs(options.quick) {
        tell(&format!("# bowline-load {arguments}"));
        runs.push(do_run(*run, arguments, tell).await);
        page.read(&runs);
        if let Some(file) = &options.json {
            let whole = WholeTable {
                table: &page,
                runs: &runs,
            };
            fs::write(file, serde_json::to_vec_pretty(&whole)?)
                .with_context(|| file.display().to_string())?;
        }
    }
    Ok(page)
}

async fn do_run(run: TableRun, arguments: &str, tell: fn(&str)) -> DoneRun {
    let words = ["bowline-load"].into_iter().chain(arguments.split(' '));
    let outcome = match Options::try_parse_from(words) {
        Ok(options) => run_load(options, tell).await,
        Err(error) => Err(error.into()),
    };
    let outcome = outcome.and_then(|report| report.context("PostgreSQL or Redis is not installed"));
    if let Ok(report) = &outcome {
        tell(&report.to_text());
    }
    let (report, error) = match outcome {
        Ok(report) => (Some(report), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    DoneRun {
        arguments: arguments.to_owned(),
        report,
        error,
        run,
    }
}
