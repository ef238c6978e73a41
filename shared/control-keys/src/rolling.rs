//! Replacing the control keys while clients hold the old ones.
//!
//! A roll first writes both new keys beside the others (`*.next.key`), then, one transport after the other, puts the
//! newest in the place of the previous one and the new one in the place of the newest. Each step replaces a file whole,
//! so that after a crash at any instant the keys can be read, and the next roll finishes this one.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bowline_clock::random_bytes;
use bowline_keys::PrivateKey;

use super::{ControlKeyError, ControlKeys, NAMES, failed, newest, previous, read};

impl ControlKeys {
    /// Makes a new key for each transport; the newest becomes the previous one. A roll that was cut short is finished.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::Missing`] when there are none, [`ControlKeyError::Rolling`] while a previous key is there:
    /// clients may still hold it. Or what is wrong with a file.
    pub fn roll(directory: &Path) -> Result<(), ControlKeyError> {
        Self::load(directory)?;
        let is_cut_short = is_cut_short(directory);
        let has_previous = NAMES.iter().any(|name| previous(directory, name).exists());
        if has_previous && !is_cut_short {
            return Err(ControlKeyError::Rolling(directory.to_owned()));
        }
        // The last transport's new key is written last and put in place last: while it is there, nothing has to be made.
        let is_ready = NAMES
            .last()
            .is_some_and(|last| next(directory, last).exists());
        if !is_ready {
            for name in NAMES {
                let key = PrivateKey::from_random(random_bytes());
                write(&next(directory, name), &key)?;
            }
            sync(directory)?;
        }
        for name in NAMES {
            put_in_place(directory, name)?;
        }
        Ok(())
    }

    /// Puts the Noise key that another server had in the place of the newest, so that its clients know this server: until they
    /// are started again they know no other. The newest becomes the previous one. Where there are no keys, the others are
    /// made. Says whether anything changed.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::Rolling`] while there is a previous key, [`ControlKeyError::CutShort`] in the midst of a roll, or
    /// what is wrong with a file.
    pub fn adopt_noise(directory: &Path, key: &PrivateKey) -> Result<bool, ControlKeyError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let [noise, _] = NAMES;
        let (newest, previous) = (newest(directory, noise), previous(directory, noise));
        if is_cut_short(directory) {
            return Err(ControlKeyError::CutShort(directory.to_owned()));
        }
        let public = |key: &PrivateKey| key.public_bytes();
        match read(&newest)? {
            Some(present) if public(&present) == public(key) => return Ok(false),
            Some(present) => {
                // One that was cut short has left the same key in both places.
                let before = read(&previous)?;
                if before.is_some_and(|before| public(&before) != public(&present)) {
                    return Err(ControlKeyError::Rolling(directory.to_owned()));
                }
                write(&previous, &present)?;
                sync(directory)?;
            }
            None => {}
        }
        write(&newest, key)?;
        sync(directory)?;
        Self::create(directory)?;
        Ok(true)
    }

    /// Removes the previous keys: clients that still hold them have to be started again. Says whether there were any.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::CutShort`] in the midst of a roll, or what is wrong with a file.
    pub fn retire(directory: &Path) -> Result<bool, ControlKeyError> {
        Self::load(directory)?;
        if is_cut_short(directory) {
            return Err(ControlKeyError::CutShort(directory.to_owned()));
        }
        let mut had_any = false;
        for name in NAMES {
            let path = previous(directory, name);
            match fs::remove_file(&path) {
                Ok(()) => had_any = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path)(error)),
            }
        }
        sync(directory)?;
        Ok(had_any)
    }
}

fn is_cut_short(directory: &Path) -> bool {
    NAMES.iter().any(|name| next(directory, name).exists())
}

/// Puts a transport's new key in place, if it is not yet.
fn put_in_place(directory: &Path, name: &str) -> Result<(), ControlKeyError> {
    let (next, newest) = (next(directory, name), newest(directory, name));
    if !next.exists() {
        return Ok(());
    }
    let Some(key) = read(&newest)? else {
        return Err(ControlKeyError::Missing(directory.to_owned()));
    };
    write(&previous(directory, name), &key)?;
    sync(directory)?;
    fs::rename(&next, &newest).map_err(failed(&newest))?;
    sync(directory)
}

fn next(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.next.key"))
}

/// Writes a key, whole or not at all, for its owner's eyes only, and waits until it is kept.
fn write(path: &Path, key: &PrivateKey) -> Result<(), ControlKeyError> {
    let hidden = path.with_extension("new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&hidden)
        .and_then(|mut file| {
            // One that an interrupted write has left has its mode still.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            let text = key.expose_text();
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&hidden, path));
    written.map_err(failed(path))
}

/// Waits until the names in a directory are kept.
fn sync(directory: &Path) -> Result<(), ControlKeyError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(directory))
}

#[cfg(test)]
mod tests;
