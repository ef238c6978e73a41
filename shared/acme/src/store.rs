//! The directory that holds all there is, for all processes that share it.
//!
//! ```text
//! STATE_DIR/AUTHORITY/account.json            the account's key
//!                     lock                    held by who orders
//!                     .challenges/HOST.pem    answers of TLS-ALPN-01
//!                     .challenges/TOKEN       answers of HTTP-01
//!                     hosts/HOST/certificate.pem    chain and key
//!                     hosts/HOST/failed.json        the last attempt, unless it succeeded
//! ```
//!
//! A file is replaced whole: whoever reads finds the old text or the new one. What begins with a dot is there for a moment, and a
//! backup leaves it out.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::{
    AcmePlan,
    attempt::FailedAttempt,
    certificate::{CertificateTextError, KeptCertificate, parse_answer},
    challenge::is_token,
};

/// A file that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path}: {problem}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Its certificate can not be used.
    #[error("{path}: {source}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CertificateTextError,
    },
}

/// The right to order, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct OrderLock(#[expect(dead_code, reason = "it is held, not read")] File);

/// The directory of one authority, and in it that of one certificate.
#[derive(Clone, Debug)]
pub(crate) struct AcmeStore {
    authority: PathBuf,
    certificate: PathBuf,
}

impl AcmeStore {
    /// Returns the store for a plan, with its directories made where they are not there.
    pub(crate) fn open(plan: &AcmePlan) -> Result<Self, StoreError> {
        // By a hash as well: authorities of one host differ by path, as the one for tests does.
        let digest = hex::encode(Sha256::digest(&plan.directory_url));
        let url = plan.directory_url.parse::<http::Uri>().ok();
        let host = url.as_ref().and_then(http::Uri::host).unwrap_or_default();
        let host: String = host
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-'))
            .collect();
        let authority = plan.state_dir.join(format!("{host}-{}", &digest[..8]));
        let first = plan.hosts.first().map_or("", |host| host);
        let store = Self {
            certificate: authority.join("hosts").join(first),
            authority,
        };
        for directory in [&store.certificate, &store.challenges()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(failed(directory))?;
        }
        Ok(store)
    }

    /// Takes the right to order; `None` while another process has it.
    pub(crate) fn try_lock(&self) -> Result<Option<OrderLock>, StoreError> {
        let path = self.authority.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(OrderLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&path)(error)),
        }
    }

    /// Returns where the certificate is.
    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.certificate.join("certificate.pem")
    }

    /// Returns the certificate, if there is one.
    pub(crate) fn read_certificate(&self) -> Result<Option<KeptCertificate>, StoreError> {
        let path = self.certificate_file();
        let Some(text) = read_text(&path)? else {
            return Ok(None);
        };
        let parsed = KeptCertificate::parse(text.as_bytes());
        parsed
            .map(Some)
            .map_err(|source| StoreError::Certificate { path, source })
    }

    /// Keeps a certificate with its key.
    pub(crate) fn write_certificate(&self, text: &str) -> Result<(), StoreError> {
        write_whole(&self.certificate_file(), text)
    }

    /// Returns where the last attempt is recorded.
    pub(crate) fn failure_file(&self) -> PathBuf {
        self.certificate.join("failed.json")
    }

    /// Returns the last attempt, unless it succeeded. A record that can not be read counts as none.
    pub(crate) fn read_failure(&self) -> Result<Option<FailedAttempt>, StoreError> {
        let text = read_text(&self.failure_file())?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Records an attempt.
    pub(crate) fn write_failure(&self, attempt: &FailedAttempt) -> Result<(), StoreError> {
        let path = self.failure_file();
        let text = serde_json::to_string_pretty(attempt).map_err(|error| StoreError::Text {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        write_whole(&path, &text)
    }

    /// Forgets the last attempt: it succeeded.
    pub(crate) fn clear_failure(&self) -> Result<(), StoreError> {
        remove(&self.failure_file())
    }

    /// Returns the account as it was kept.
    pub(crate) fn read_account(&self) -> Result<Option<String>, StoreError> {
        read_text(&self.account_file())
    }

    /// Keeps the account.
    pub(crate) fn write_account(&self, text: &str) -> Result<(), StoreError> {
        write_whole(&self.account_file(), text)
    }

    /// Forgets the account: the authority does not know it.
    pub(crate) fn remove_account(&self) -> Result<(), StoreError> {
        remove(&self.account_file())
    }

    pub(crate) fn account_file(&self) -> PathBuf {
        self.authority.join("account.json")
    }

    /// Lets every process answer a TLS-ALPN-01 challenge.
    pub(crate) fn write_tls_answer(&self, host: &str, text: &str) -> Result<(), StoreError> {
        write_whole(&self.tls_answer_file(host), text)
    }

    /// Returns the answer to a TLS-ALPN-01 challenge for one of the plan's hosts.
    pub(crate) fn read_tls_answer(
        &self,
        host: &str,
    ) -> Result<Option<Arc<CertifiedKey>>, StoreError> {
        let path = self.tls_answer_file(host);
        let Some(text) = read_text(&path)? else {
            return Ok(None);
        };
        let parsed = parse_answer(text.as_bytes());
        parsed
            .map(Some)
            .map_err(|source| StoreError::Certificate { path, source })
    }

    /// Lets every process answer an HTTP-01 challenge.
    pub(crate) fn write_http_answer(&self, token: &str, text: &str) -> Result<(), StoreError> {
        let path = self.challenges().join(token);
        if !is_token(token) {
            let problem = "the authority's token is none".to_owned();
            return Err(StoreError::Text { path, problem });
        }
        write_whole(&path, text)
    }

    /// Returns the answer to an HTTP-01 challenge; `None` for a token that nobody gave.
    pub(crate) fn read_http_answer(&self, token: &str) -> Result<Option<String>, StoreError> {
        if !is_token(token) {
            return Ok(None);
        }
        read_text(&self.challenges().join(token))
    }

    /// Forgets all answers: the order is over.
    pub(crate) fn clear_answers(&self) -> Result<(), StoreError> {
        let directory = self.challenges();
        for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
            remove(&entry.map_err(failed(&directory))?.path())?;
        }
        Ok(())
    }

    fn challenges(&self) -> PathBuf {
        self.authority.join(".challenges")
    }

    fn tls_answer_file(&self, host: &str) -> PathBuf {
        // No token has a dot in it.
        self.challenges().join(format!("{host}.pem"))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { path, source }
}

fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file for its owner's eyes only, and waits until it is kept. Only who has the lock writes.
fn write_whole(path: &Path, text: &str) -> Result<(), StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}.new"));
    remove(&hidden)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&hidden)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&hidden, path));
    written.map_err(failed(path))
}

#[cfg(test)]
mod tests;
