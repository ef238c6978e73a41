//! The directory that holds everything, and that one process uses at a time.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};

/// Makes the directory where there is none, and takes it for this process as long as the file is held.
///
/// # Errors
///
/// When it can not be made or written, or another process has it.
pub fn take(directory: &Path) -> Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| {
            let place = directory.display();
            format!("the state directory {place} can not be made")
        })?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join("lock"))
        .with_context(|| {
            let place = directory.display();
            format!("the state directory {place} can not be written")
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another `bowline serve` uses the state directory {}: end it, or name another with --state-dir",
            directory.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| {
            let place = directory.display();
            format!("the state directory {place} can not be locked")
        }),
    }
}
