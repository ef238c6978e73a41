//! `cargo run --release -p bowline-load -- --help`

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the answer to the command"
)]

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bowline_load::{Options, OutputForm, run_load};
use clap::Parser as _;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the load, and says whether all was right.
fn run(options: Options) -> Result<bool> {
    let output = options.output;
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(run_load(options, |phase| eprintln!("{phase}")))?;
    let report = report.context("PostgreSQL or Redis is not installed")?;
    match output {
        OutputForm::Table => println!("{}", report.to_text()),
        OutputForm::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(report.is_right())
}
