//! The directory that holds everything, and that one process uses at a time.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result, bail};

/// Makes the directory where there is none, and takes it for this process as long as the file is held.
///
/// Nobody but its own account may look into it: wider modes, as of a directory that somebody else made or a backup
/// brought back, are set right.
///
/// # Errors
///
/// When it can not be made, written or kept from others, belongs to another account, or another process has it.
pub fn lock_state_dir(directory: &Path) -> Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| {
            let place = directory.display();
            format!("the state directory {place} can not be made")
        })?;
    keep_from_others(directory)?;
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

/// The file that is in a state directory while a restore changes it.
pub const RESTORE_MARKER: &str = "restore-under-way";

/// Refuses a directory that a restore has left half changed.
///
/// # Errors
///
/// When there is one.
pub fn check_restored(directory: &Path) -> Result<()> {
    if directory.join(RESTORE_MARKER).exists() {
        bail!(
            "a restore into the state directory {} was cut off: run `bowline restore --replace` again; what was there before is in replaced-*",
            directory.display()
        );
    }
    Ok(())
}

/// What others may do with a file.
const OF_OTHERS: u32 = 0o077;

/// Sets the modes of the directory and of the files in it right, and says so.
fn keep_from_others(directory: &Path) -> Result<()> {
    let place = directory.display();
    let found = fs::metadata(directory)
        .with_context(|| format!("the state directory {place} can not be read"))?;
    let (own, owner) = (rustix::process::geteuid().as_raw(), found.uid());
    // Root can read everything anyway.
    if owner != own && owner != 0 {
        bail!(
            "the state directory {place} belongs to another account (number {owner}, this process runs as {own}), which could read every key in it: change its owner, or name another directory with --state-dir"
        );
    }
    if found.mode() & OF_OTHERS != 0 {
        let narrowed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(directory, narrowed).with_context(|| {
            format!(
                "the state directory {place} is open to others (mode {:o}) and can not be closed: name a directory inside it with --state-dir, it is made with the right mode",
                found.mode() & 0o7777
            )
        })?;
        tracing::warn!(%place, "the state directory was open to others: now it is not");
    }
    for secrets in [".", "control-keys", "tls"] {
        narrow_files(&directory.join(secrets))?;
    }
    Ok(())
}

/// Sets the modes of a directory's files right, but for settings and the certificates that are there to be copied.
fn narrow_files(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        // It is not there yet.
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let found = entry.metadata()?;
        let name = entry.file_name();
        let is_public = name == "ca.pem" || Path::new(&name).extension() == Some("toml".as_ref());
        if found.is_file() && !is_public && found.mode() & OF_OTHERS != 0 {
            let (path, narrowed) = (entry.path(), found.mode() & 0o700);
            fs::set_permissions(&path, fs::Permissions::from_mode(narrowed)).with_context(
                || format!("{} is open to others and can not be closed", path.display()),
            )?;
            tracing::warn!(path = %path.display(), "a file of the server was open to others: now it is not");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
