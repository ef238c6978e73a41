//! `cargo run -p bowline-sizing -- --help`

#![expect(clippy::print_stdout, reason = "this is the answer to the command")]

use std::path::PathBuf;

use anyhow::Result;
use bowline_sizing::{Machine, Workload, make_page};
use clap::Parser;

/// Computes how many machines a deployment needs, from what a load cost on one.
#[derive(Debug, Parser)]
#[command(name = "bowline-sizing")]
struct Arguments {
    /// The directory with what `tests/sizing/measure` wrote.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/measured"))]
    measured: PathBuf,
    #[command(flatten)]
    workload: Workload,
    #[command(flatten)]
    machine: Machine,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let page = make_page(&arguments.measured, &arguments.workload, &arguments.machine)?;
    print!("{page}");
    Ok(())
}
