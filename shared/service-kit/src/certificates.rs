//! The certificates with which services and administrators prove themselves to each other.
//!
//! ```text
//! files ─▶ Certificates ─▶ Material (one reading of the files) ─▶ server and client configuration of TLS
//!             └── looks again when it is used: a renewed certificate, another authority, a longer denied list
//! ```

mod authority;
mod denied;
mod ends;
mod material;
mod trusted_stream;
mod verifier;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use crate::FileWatch;
pub use authority::{Authority, IssueError, RenewError};
use denied::DeniedList;
pub use ends::{CertificateEnds, CertificateViewer, note_certificate, note_ordered_certificate};
use material::Material;
pub(crate) use trusted_stream::{accept_trusted, connect_trusted};

/// A process's own certificate and key, and the authority it trusts. Clones share them; what was read from files is
/// read again when they change, on connections that are held as well.
#[derive(Clone)]
pub struct Certificates {
    current: Arc<ArcSwap<Material>>,
    followed: Option<Arc<CertificateWatch>>,
}

/// The files, and whether they have changed.
struct CertificateWatch {
    files: CertificateFiles,
    watch: FileWatch,
}

/// Where a process finds its certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The process's certificate.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
    /// Whose certificates are not taken although they are valid: on each line a serial number in hexadecimal digits, or
    /// a name such as `admin:amira` or `service:relay`.
    #[serde(default)]
    pub denied: Option<PathBuf>,
}

/// A file that can not be read, written or used.
#[derive(Debug, thiserror::Error)]
#[error("certificate file {}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: std::io::Error,
}

impl Certificates {
    /// Reads the files. They are read again when they change; what can not be used then changes nothing.
    ///
    /// # Errors
    ///
    /// Names the file that can not be read or used.
    pub fn load(files: &CertificateFiles) -> Result<Self, FileError> {
        let paths = [&files.authority, &files.certificate, &files.key];
        let paths = paths.into_iter().chain(&files.denied).cloned().collect();
        let watch = FileWatch::new(paths);
        let material = Material::read(files)?;
        material.note_end();
        Ok(Self {
            current: Arc::new(ArcSwap::from_pointee(material)),
            followed: Some(Arc::new(CertificateWatch {
                files: files.clone(),
                watch,
            })),
        })
    }

    /// Returns certificates that are in no file yet.
    fn from_pem(authority: String, certificate: String, key: String) -> Self {
        let key = Zeroizing::new(key);
        let material = Material::new(authority, certificate, key, DeniedList::default());
        Self {
            current: Arc::new(ArcSwap::from_pointee(material)),
            followed: None,
        }
    }

    /// Writes `ca.pem`, `NAME.pem` and, for this account's eyes only, `NAME.key` into a directory; each in one step.
    ///
    /// # Errors
    ///
    /// Names the file that can not be written.
    pub fn save(&self, directory: &Path, name: &str) -> Result<CertificateFiles, FileError> {
        let files = CertificateFiles {
            authority: directory.join("ca.pem"),
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
            denied: None,
        };
        let material = self.current.load();
        write_text(&files.authority, &material.authority, 0o644)?;
        write_text(&files.key, &material.key, 0o600)?;
        write_text(&files.certificate, &material.certificate, 0o644)?;
        Ok(files)
    }

    /// Returns what is in force, after a look at the files.
    pub(crate) fn current_material(&self) -> Arc<Material> {
        if let Some(followed) = &self.followed
            && followed.watch.check_for_changes()
        {
            match Material::read(&followed.files) {
                Ok(material) => {
                    let file = followed.files.certificate.display();
                    tracing::info!(%file, "the certificates between services were read again");
                    material.note_end();
                    self.current.store(Arc::new(material));
                }
                Err(error) => {
                    followed.watch.report_again();
                    let error = crate::error_text(&error);
                    tracing::warn!(%error, "the certificates between services stay as they were");
                }
            }
        }
        let material = self.current.load_full();
        material.warn_near_the_end();
        material
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificates")
            .finish_non_exhaustive()
    }
}

fn read_text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file in one step, so that a process that follows it finds the old text or the new one.
fn write_text(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    let hidden = PathBuf::from(hidden);
    drop(std::fs::remove_file(&hidden));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&hidden)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&hidden, path))
        .map_err(|source| FileError {
            path: path.to_owned(),
            source,
        })
}
