//! The deployment's audit key: Ed25519, a small text file beside the control keys.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bowline_clock::random_bytes;
use zeroize::Zeroizing;

/// What a private key begins with.
const PRIVATE: &str = "bowline-audit-key-";
/// What a public key begins with.
const PUBLIC: &str = "bowline-audit-public-";

/// Why an audit key can not be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditKeyError {
    /// The text is no such key.
    #[error(
        "this is no audit key: `bowline audit-key create` makes one, which begins with {PRIVATE}"
    )]
    Private,
    /// The text is no public key.
    #[error(
        "this is no public audit key: `bowline audit-key show` prints it, and it begins with {PUBLIC}"
    )]
    Public,
    /// There is a key already.
    #[error("there is a file {0} already")]
    Exists(PathBuf),
    /// The file can not be read or written.
    #[error("audit key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

/// What heads are signed with.
pub struct AuditKey(Ed25519KeyPair);

impl fmt::Debug for AuditKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("AuditKey")
            .field(&self.public())
            .finish()
    }
}

impl FromStr for AuditKey {
    type Err = AuditKeyError;

    fn from_str(text: &str) -> Result<Self, AuditKeyError> {
        let seed = text.trim().strip_prefix(PRIVATE);
        let seed = seed.and_then(|seed| STANDARD_NO_PAD.decode(seed).ok());
        let seed = Zeroizing::new(seed.ok_or(AuditKeyError::Private)?);
        Ed25519KeyPair::from_seed_unchecked(&seed)
            .map(Self)
            .map_err(|_| AuditKeyError::Private)
    }
}

impl AuditKey {
    /// Reads the key of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn load(path: &Path) -> Result<Self, AuditKeyError> {
        let text = fs::read_to_string(path).map(Zeroizing::new);
        text.map_err(|source| file_error(path, source))?.parse()
    }

    /// Returns the key that signatures are checked with.
    #[must_use]
    pub fn public(&self) -> AuditPublicKey {
        AuditPublicKey(self.0.public_key().as_ref().to_vec())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// Makes the file with a new key, which only its owner can read.
///
/// # Errors
///
/// When there is one, or it can not be written.
pub fn create_audit_key(path: &Path) -> Result<AuditKey, AuditKeyError> {
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random_bytes());
    let text = Zeroizing::new(format!("{PRIVATE}{}\n", STANDARD_NO_PAD.encode(*seed)));
    let key = text.parse()?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(AuditKeyError::Exists(path.to_owned()))
        }
        Err(error) => Err(file_error(path, error)),
    }
}

fn file_error(path: &Path, source: io::Error) -> AuditKeyError {
    AuditKeyError::File {
        path: path.to_owned(),
        source,
    }
}

/// What signatures of heads are checked with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPublicKey(Vec<u8>);

impl FromStr for AuditPublicKey {
    type Err = AuditKeyError;

    fn from_str(text: &str) -> Result<Self, AuditKeyError> {
        let key = text.trim().strip_prefix(PUBLIC);
        let key = key.and_then(|key| STANDARD_NO_PAD.decode(key).ok());
        key.filter(|key| key.len() == 32)
            .map(Self)
            .ok_or(AuditKeyError::Public)
    }
}

impl fmt::Display for AuditPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PUBLIC}{}", STANDARD_NO_PAD.encode(&self.0))
    }
}

impl AuditPublicKey {
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

#[cfg(test)]
mod tests;
