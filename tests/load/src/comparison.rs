//! Bowline beside headscale: the same phases on each in turn, and the ratios of what they cost.

mod ratios;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Parser as _};
use serde::Serialize;

use self::ratios::Pair;
pub use self::ratios::{ComparisonPage, RatioRow};
use crate::{
    machine::MeasuredMachine,
    options::{Options, PlanKind},
    report::RunReport,
    run::run_load,
    table::PageForm,
};

/// The phases that both can do.
const PHASES: &str = "--phases=alone,reports,idle,changes,policy,expire,delete,crash";

/// Compares Bowline with headscale: the same phases in turn, medians of several pairs, and ratios.
#[derive(Clone, Debug, Args)]
pub struct ComparisonOptions {
    /// A program of headscale 0.29.
    #[arg(long, value_name = "PROGRAM")]
    pub headscale: PathBuf,
    /// How many nodes.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=3000))]
    pub nodes: u32,
    /// Who may reach whom.
    #[arg(long, value_enum, default_value_t = PlanKind::Allow)]
    pub policy: PlanKind,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub pairs: u32,
    /// How long nothing happens, and how long changes are made, each; one change a second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// How the table is printed.
    #[arg(long, value_enum, default_value_t = PageForm::Text)]
    pub output: PageForm,
    /// A file for the table and all that was measured, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The ratios with what they were made from.
#[derive(Debug, Serialize)]
struct WholeComparison<'a> {
    comparison: &'a ComparisonPage,
    pairs: &'a [Pair],
}

/// Measures both in turn, and compares them; each run and phase that begins is told.
///
/// # Errors
///
/// What hinders one of them, or the file from being written.
pub async fn compare(options: &ComparisonOptions, tell: fn(&str)) -> Result<ComparisonPage> {
    let machine = MeasuredMachine::look();
    let mut pairs = Vec::new();
    for number in 1..=options.pairs {
        tell(&format!("# pair {number}: headscale"));
        let headscale = measure(options, true, tell).await?;
        tell(&format!("# pair {number}: Bowline"));
        let bowline = measure(options, false, tell).await?;
        pairs.push(Pair { headscale, bowline });
    }
    let policy = format!("{:?}", options.policy).to_lowercase();
    let command = format!(
        "bowline-load compare --headscale PROGRAM --nodes {} --policy {policy} --pairs {} --seconds {}",
        options.nodes, options.pairs, options.seconds
    );
    let page = ComparisonPage::new(machine, command, &pairs);
    if let Some(file) = &options.json {
        let whole = WholeComparison {
            comparison: &page,
            pairs: &pairs,
        };
        fs::write(file, serde_json::to_vec_pretty(&whole)?)
            .with_context(|| file.display().to_string())?;
    }
    Ok(page)
}

async fn measure(
    options: &ComparisonOptions,
    is_headscale: bool,
    tell: fn(&str),
) -> Result<RunReport> {
    let run = Options {
        nodes: options.nodes,
        policy: options.policy,
        seconds: options.seconds,
        headscale: is_headscale.then(|| options.headscale.clone()),
        ..Options::try_parse_from(["bowline-load", PHASES])?
    };
    let report = run_load(run, tell).await?.context("nothing is missing")?;
    tell(&report.to_text());
    Ok(report)
}
