//! Finding installed programs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::report_skipped;

/// Returns the path of a program in `PATH` or in one of Debian's PostgreSQL directories.
///
/// `None`, and a loud line, when it is not installed; an error where tests must not be skipped (`CI=true`).
pub(crate) fn find(name: &str) -> Result<Option<PathBuf>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(postgres_directories());
    let mut programs = places.map(|directory| directory.join(name));
    let found = programs.find(|program| program.is_file());
    if found.is_none() {
        report_skipped(&format!("{name} is not installed"))?;
    }
    Ok(found)
}

/// Returns the path of a program in `PATH` or in another directory.
///
/// `None`, and a loud line, when it is not installed; an error where tests must not be skipped (`CI=true`).
pub(crate) fn find_beside(name: &str, directory: &str) -> Result<Option<PathBuf>> {
    let path = Path::new(directory).join(name);
    match path.is_file() {
        true => Ok(Some(path)),
        false => find(name),
    }
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
