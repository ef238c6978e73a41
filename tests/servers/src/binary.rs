//! Finding installed programs.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Returns the path of a program in `PATH` or in one of Debian's PostgreSQL directories.
///
/// `None`, and a loud line, when it is not installed; an error where tests must not be skipped (`CI=true`).
pub(crate) fn find(name: &str) -> Result<Option<PathBuf>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(postgres_directories());
    let mut programs = places.map(|directory| directory.join(name));
    let found = programs.find(|program| program.is_file());
    if found.is_none() && env::var("CI").is_ok_and(|value| value == "true") {
        bail!("{name} is not installed, and CI=true forbids skipping");
    }
    if found.is_none() {
        skipped(name);
    }
    Ok(found)
}

/// Says so past the test runner, which hides what a passing test prints.
fn skipped(name: &str) {
    let line =
        format!("SKIPPED: {name} is not installed; install it, or set CI=true to fail instead\n");
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Returns the newest first.
fn postgres_directories() -> Vec<PathBuf> {
    let versions = Path::new("/usr/lib/postgresql")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort_unstable();
    versions.into_iter().rev().map(|(_, path)| path).collect()
}
