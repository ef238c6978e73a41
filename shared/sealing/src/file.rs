//! The file of the keys.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use zeroize::Zeroizing;

use crate::{SealingError, SealingKeys};

/// Reads the keys.
///
/// # Errors
///
/// What is wrong with the file.
pub fn load_keys(path: &Path) -> Result<SealingKeys, SealingError> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => SealingKeys::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(SealingError::Missing(path.to_owned()))
        }
        Err(error) => Err(file_error(path, error)),
    }
}

/// Makes the file with one new key, which only its owner can read.
///
/// # Errors
///
/// When there is one, or it can not be written.
pub fn create_keys(path: &Path) -> Result<SealingKeys, SealingError> {
    let keys = SealingKeys::generate();
    match write_new(path, &keys) {
        Ok(()) => Ok(keys),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(SealingError::Exists(path.to_owned()))
        }
        Err(error) => Err(file_error(path, error)),
    }
}

/// Adds a new key that opens and does not seal, for replicas that get the file before others; one that is there stays.
///
/// # Errors
///
/// What is wrong with the file.
pub fn prepare_keys(path: &Path) -> Result<(), SealingError> {
    let mut keys = load_keys(path)?;
    keys.add_prepared();
    replace(path, &keys)
}

/// Lets the prepared key seal. Secrets that older keys sealed still open, until [`retire_keys`].
///
/// # Errors
///
/// When none is prepared, or what is wrong with the file.
pub fn activate_keys(path: &Path) -> Result<(), SealingError> {
    let mut keys = load_keys(path)?;
    if !keys.activate_prepared() {
        return Err(SealingError::NotPrepared(path.to_owned()));
    }
    replace(path, &keys)
}

/// Forgets the prepared key; says whether there was one.
///
/// # Errors
///
/// What is wrong with the file.
pub fn drop_prepared_keys(path: &Path) -> Result<bool, SealingError> {
    let mut keys = load_keys(path)?;
    let had_one = keys.drop_prepared();
    if had_one {
        replace(path, &keys)?;
    }
    Ok(had_one)
}

/// Forgets the old keys; returns how many. Call it when every replica has sealed its secrets again.
///
/// # Errors
///
/// What is wrong with the file.
pub fn retire_keys(path: &Path) -> Result<usize, SealingError> {
    let mut keys = load_keys(path)?;
    let gone = keys.drop_old();
    replace(path, &keys)?;
    Ok(gone)
}

/// Writes the file beside and moves it over the old one: it is whole at each moment.
fn replace(path: &Path, keys: &SealingKeys) -> Result<(), SealingError> {
    let beside = path.with_extension("new");
    // Left by a command that was cut short.
    drop(fs::remove_file(&beside));
    write_new(&beside, keys)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| file_error(path, error))
}

fn write_new(path: &Path, keys: &SealingKeys) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(keys.to_text().as_bytes())?;
    file.sync_all()
}

fn file_error(path: &Path, source: io::Error) -> SealingError {
    SealingError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
