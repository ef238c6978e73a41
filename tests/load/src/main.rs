//! `cargo run --release -p bowline-load -- --help`

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the answer to the command"
)]

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bowline_load::{
    ComparisonOptions, Options, OutputForm, PageForm, TableOptions, compare, make_table, run_load,
};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// What is wanted: one run, or one of the commands.
#[derive(Debug, Parser)]
#[command(name = "bowline-load", args_conflicts_with_subcommands = true)]
struct LoadCommand {
    #[command(subcommand)]
    command: Option<ManyRuns>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum ManyRuns {
    Table(TableOptions),
    Compare(ComparisonOptions),
}

fn main() -> ExitCode {
    match run(LoadCommand::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Does what is wanted, and says whether all was right.
fn run(wanted: LoadCommand) -> Result<bool> {
    let tell: fn(&str) = |phase| eprintln!("{phase}");
    let runtime = tokio::runtime::Runtime::new()?;
    match wanted.command {
        None => {
            let output = wanted.options.output;
            let report = runtime.block_on(run_load(wanted.options, tell))?;
            let report = report.context("PostgreSQL or Redis is not installed")?;
            match output {
                OutputForm::Table => println!("{}", report.to_text()),
                OutputForm::Json => println!("{}", serde_json::to_string_pretty(&report)?),
            }
            Ok(report.is_right())
        }
        Some(ManyRuns::Table(options)) => {
            let page = runtime.block_on(make_table(&options, tell))?;
            print(options.output, &page, &page.to_text(), &page.to_markdown())?;
            Ok(page.is_right())
        }
        Some(ManyRuns::Compare(options)) => {
            let page = runtime.block_on(compare(&options, tell))?;
            print(options.output, &page, &page.to_text(), &page.to_markdown())?;
            Ok(page.is_right())
        }
    }
}

fn print(form: PageForm, page: &impl Serialize, text: &str, markdown: &str) -> Result<()> {
    match form {
        PageForm::Text => println!("{text}"),
        PageForm::Markdown => println!("{markdown}"),
        PageForm::Json => println!("{}", serde_json::to_string_pretty(page)?),
    }
    Ok(())
}
