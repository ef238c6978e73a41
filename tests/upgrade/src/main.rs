//! Makes a fixture of the version that is checked out: `cargo run -p bowline-upgrade -- fixtures/VERSION`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this crate is only for tests"
)]

use std::path::PathBuf;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1);
    let directory = PathBuf::from(directory.context("usage: bowline-upgrade DIRECTORY")?);
    bowline_upgrade::make(&directory)?;
    println!("made {}", directory.display());
    Ok(())
}
