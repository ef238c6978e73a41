//! The server's own keys, as files: one pair for each transport, and the previous pair while rolling.
//!
//! All gateways share them. `bowline control-keys` makes and rolls them, gateways read them; a server of one process makes
//! its own at the first start.

mod rolling;

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bowline_clock::random_bytes;
use bowline_keys::{KeyError, MachinePublic, PrivateKey};
use io::Write as _;

/// The transports, as files name them.
const NAMES: [&str; 2] = ["noise", "legacy"];

/// Why control keys can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlKeyError {
    /// There are none.
    #[error(
        "no control keys in {0}: make them once with `bowline control-keys create {0}`, for all gateways"
    )]
    Missing(PathBuf),
    /// A previous key is there: rolling again would take it from clients that hold it.
    #[error(
        "the previous control keys in {0} are still in use: remove them with `bowline control-keys retire {0}` before the next roll"
    )]
    Rolling(PathBuf),
    /// A roll ended in its midst.
    #[error(
        "a roll of the control keys in {0} was cut short: finish it with `bowline control-keys roll {0}`"
    )]
    CutShort(PathBuf),
    /// A file can not be read or written.
    #[error("control key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("control key {path}: {source}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
}

/// The control keys of one transport, newest first.
#[derive(Debug)]
pub struct KeyRing(Vec<PrivateKey>);

impl KeyRing {
    /// Returns the public half of the newest key: what clients are offered.
    #[must_use]
    pub fn public(&self) -> MachinePublic {
        self.0.first().map_or(MachinePublic::ZERO, |key| {
            MachinePublic::from_bytes(key.public_bytes())
        })
    }

    /// Returns the keys to try, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &PrivateKey> {
        self.0.iter()
    }
}

/// The control keys of both transports.
#[derive(Debug)]
pub struct ControlKeys {
    /// For Noise.
    pub noise: KeyRing,
    /// For crypto_box.
    pub legacy: KeyRing,
}

impl ControlKeys {
    /// Reads the keys of a directory.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::Missing`] when there are none, or what is wrong with a file.
    pub fn load(directory: &Path) -> Result<Self, ControlKeyError> {
        let ring = |name: &str| {
            let newest = read(&newest(directory, name))?
                .ok_or_else(|| ControlKeyError::Missing(directory.to_owned()))?;
            let previous = read(&previous(directory, name))?;
            Ok(KeyRing([newest].into_iter().chain(previous).collect()))
        };
        Ok(Self {
            noise: ring("noise")?,
            legacy: ring("legacy")?,
        })
    }

    /// Makes both keys in a directory, readable by their owner only; keys that are there stay.
    ///
    /// # Errors
    ///
    /// When a file can not be written.
    pub fn create(directory: &Path) -> Result<(), ControlKeyError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        for name in NAMES {
            let path = newest(directory, name);
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

fn newest(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.key"))
}

fn previous(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.previous.key"))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ControlKeyError {
    let path = path.to_owned();
    move |source| ControlKeyError::File { path, source }
}

fn read(path: &Path) -> Result<Option<PrivateKey>, ControlKeyError> {
    // A mounted secret may have a mode that can not be set: it is said, and not refused.
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let path = path.display();
        tracing::warn!(%path, "others on this machine can read a control key: only its owner should (mode 0600)");
    }
    match fs::read_to_string(path) {
        Ok(text) => text
            .trim_end()
            .parse()
            .map(Some)
            .map_err(|source| ControlKeyError::Text {
                path: path.to_owned(),
                source,
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ControlKeyError::File {
            path: path.to_owned(),
            source,
        }),
    }
}
