//! The files of a directory: one for each transport and state. The names are those of the release that knew no prepared keys:
//! what it has left in the midst of a roll is read, and finished, as well.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use bowline_clock::random_bytes;
use bowline_keys::PrivateKey;
use zeroize::Zeroizing;

use crate::{ControlKeyError, ControlKeyState, ControlKeys, ControlTransport, KeyRing};

/// Returns the files that a directory of control keys can have.
#[must_use]
pub fn key_files(directory: &Path) -> Vec<PathBuf> {
    let states = [
        ControlKeyState::Prepared,
        ControlKeyState::Active,
        ControlKeyState::Old,
    ];
    let files = ControlTransport::ALL
        .into_iter()
        .flat_map(|transport| states.map(|state| key_file(directory, transport, state)));
    files.collect()
}

/// Returns the file of one key.
pub(crate) fn key_file(
    directory: &Path,
    transport: ControlTransport,
    state: ControlKeyState,
) -> PathBuf {
    let middle = match state {
        ControlKeyState::Prepared => ".next",
        ControlKeyState::Active => "",
        ControlKeyState::Old => ".previous",
    };
    directory.join(format!("{transport}{middle}.key"))
}

impl ControlKeys {
    /// Reads the keys of a directory.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::Missing`] when there are none, or what is wrong with a file.
    pub fn load(directory: &Path) -> Result<Self, ControlKeyError> {
        Ok(Self {
            noise: load_ring(directory, ControlTransport::Noise)?,
            legacy: load_ring(directory, ControlTransport::Legacy)?,
        })
    }

    /// Makes both keys in a directory, readable by their owner only; keys that are there stay.
    ///
    /// # Errors
    ///
    /// When a file can not be written.
    pub fn create(directory: &Path) -> Result<(), ControlKeyError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        for transport in ControlTransport::ALL {
            let path = key_file(directory, transport, ControlKeyState::Active);
            let file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match file {
                Ok(mut file) => {
                    let key = PrivateKey::from_random(random_bytes());
                    file.write_all(key.expose_text().as_bytes())
                        .and_then(|()| file.sync_all())
                        .map_err(failed(&path))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path)(error)),
            }
        }
        Ok(())
    }
}

/// Reads the keys of a transport, in the direction in which a roll moves them: one that is moved meanwhile is read in its old place
/// or in its new one, or in both.
fn load_ring(directory: &Path, transport: ControlTransport) -> Result<KeyRing, ControlKeyError> {
    let read = |state| read_key(&key_file(directory, transport, state));
    let prepared = read(ControlKeyState::Prepared)?;
    let active = read(ControlKeyState::Active)?;
    let active = active.ok_or_else(|| ControlKeyError::Missing(directory.to_owned()))?;
    let old = read(ControlKeyState::Old)?;
    let is_other = |key: &PrivateKey| key.public_bytes() != active.public_bytes();
    Ok(KeyRing {
        prepared: prepared.filter(is_other),
        old: old.filter(is_other),
        active,
    })
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> ControlKeyError {
    let path = path.to_owned();
    move |source| ControlKeyError::File { path, source }
}

pub(crate) fn read_key(path: &Path) -> Result<Option<PrivateKey>, ControlKeyError> {
    // A mounted secret may have a mode that can not be set: it is said, and not refused.
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let path = path.display();
        tracing::warn!(%path, "others on this machine can read a control key: only its owner should (mode 0600)");
    }
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => text
            .trim_end()
            .parse()
            .map(Some)
            .map_err(|source| ControlKeyError::Text {
                path: path.to_owned(),
                source,
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes a key, whole or not at all, for its owner's eyes only, and waits until the text is kept. The owner is that of the key
/// `beside` it: root may roll the keys of a service's account.
pub(crate) fn write_key(
    path: &Path,
    key: &PrivateKey,
    beside: &Path,
) -> Result<(), ControlKeyError> {
    #[cfg(test)]
    interruption::take_step()?;
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
            give_to_owner_of(beside, &file)?;
            let text = key.expose_text();
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.map_err(failed(&hidden))?;
    move_key(&hidden, path)
}

/// Gives a key's file another name, in place of the file that had it.
pub(crate) fn move_key(from: &Path, to: &Path) -> Result<(), ControlKeyError> {
    #[cfg(test)]
    interruption::take_step()?;
    fs::rename(from, to).map_err(failed(to))
}

fn give_to_owner_of(beside: &Path, file: &File) -> io::Result<()> {
    let Ok(wanted) = fs::metadata(beside) else {
        return Ok(());
    };
    let present = file.metadata()?;
    if (present.uid(), present.gid()) == (wanted.uid(), wanted.gid()) {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

/// Waits until the names in a directory are kept.
pub(crate) fn sync(directory: &Path) -> Result<(), ControlKeyError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(directory))
}

/// Removes a file; says whether it was there.
pub(crate) fn remove_key(path: &Path) -> Result<bool, ControlKeyError> {
    #[cfg(test)]
    interruption::take_step()?;
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Lets a command end between two of its steps, as a crash does.
#[cfg(test)]
pub(crate) mod interruption {
    use std::{cell::Cell, io, path::Path};

    use super::{ControlKeyError, failed};

    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// Lets the thread take so many steps more.
    pub(crate) fn allow_steps(steps: usize) {
        LEFT.set(steps);
    }

    pub(super) fn take_step() -> Result<(), ControlKeyError> {
        match LEFT.get().checked_sub(1) {
            Some(left) => {
                LEFT.set(left);
                Ok(())
            }
            None => Err(failed(Path::new("interrupted"))(
                io::ErrorKind::Interrupted.into(),
            )),
        }
    }
}
