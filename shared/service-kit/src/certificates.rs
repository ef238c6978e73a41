//! The certificates with which services and administrators prove themselves to each other.

mod authority;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use zeroize::Zeroizing;

use crate::ServiceName;
pub use authority::{Authority, IssueError};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A process's own certificate and key, and the authority it trusts, all as PEM.
#[derive(Clone)]
pub struct Certificates {
    authority: String,
    certificate: String,
    key: Zeroizing<String>,
}

/// Where a process finds its certificates.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The process's certificate.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
}

/// A file that can not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("certificate file {}", path.display())]
pub struct FileError {
    path: PathBuf,
    source: std::io::Error,
}

impl Certificates {
    /// Reads the three files.
    ///
    /// # Errors
    ///
    /// Names the file that can not be read.
    pub fn load(files: &CertificateFiles) -> Result<Self, FileError> {
        Ok(Self {
            authority: read(&files.authority)?,
            certificate: read(&files.certificate)?,
            key: Zeroizing::new(read(&files.key)?),
        })
    }

    /// Writes `ca.pem`, `NAME.pem` and, for this account's eyes only, `NAME.key` into a directory.
    ///
    /// # Errors
    ///
    /// Names the file that can not be written.
    pub fn save(&self, directory: &Path, name: &str) -> Result<CertificateFiles, FileError> {
        let files = CertificateFiles {
            authority: directory.join("ca.pem"),
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}.key")),
        };
        write(&files.authority, &self.authority, 0o644)?;
        write(&files.certificate, &self.certificate, 0o644)?;
        write(&files.key, &self.key, 0o600)?;
        Ok(files)
    }

    /// Returns what a server shows, and that it wants a client certificate of the same authority.
    pub(crate) fn server_tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .timeout(HANDSHAKE)
            .identity(Identity::from_pem(&self.certificate, self.key.as_bytes()))
            .client_ca_root(Certificate::from_pem(&self.authority))
    }

    /// Returns what a client shows, and that it wants to meet this service.
    pub(crate) fn client_tls(&self, service: ServiceName) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(Identity::from_pem(&self.certificate, self.key.as_bytes()))
            .ca_certificate(Certificate::from_pem(&self.authority))
            .domain_name(service.host())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificates")
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| FileError {
            path: path.to_owned(),
            source,
        })
}
