//! Keys that seal and open. Pure but for randomness.

use std::{fmt, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bowline_clock::random_bytes;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

/// What a key begins with in the file.
const PREFIX: &str = "bowline-sealing-key-";
/// The line before a key that is prepared. The release before takes it for a comment, and the key for an older one: it opens.
const PREPARED: &str = "# prepared";
/// The first byte of what is sealed: XChaCha20-Poly1305, key id, nonce.
const FORM: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;
/// How long what comes before the nonce is: it says which key sealed.
const MARK: usize = 1 + KEY_ID;

/// Why sealing keys can not be used, or a secret not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// There is no file.
    #[error(
        "there is no sealing key in {0}: make it once with `bowline sealing-key create {0}`, for all replicas of identity"
    )]
    Missing(PathBuf),
    /// There is one already.
    #[error(
        "{0} exists: sealed secrets need it; replace the key with `bowline sealing-key prepare {0}`"
    )]
    Exists(PathBuf),
    /// The file can not be read or written.
    #[error("the sealing keys in {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// There is nothing to activate.
    #[error(
        "no sealing key is prepared in {0}: make it with `bowline sealing-key prepare {0}`, and give the file to every replica of identity"
    )]
    NotPrepared(PathBuf),
    /// The file, or a line of it, is no key.
    #[error("line {line} of the sealing keys is no key: each begins with {PREFIX}")]
    Text {
        /// Counted from one.
        line: usize,
    },
    /// What is sealed can not be opened.
    #[error(
        "the secret was sealed with a key that is not here any more, or for another place, or is damaged"
    )]
    Opening,
}

/// The keys of a deployment: the active one, one that may be prepared, and the old ones, newest first.
pub struct SealingKeys(Vec<SealingKey>);

struct SealingKey {
    id: [u8; KEY_ID],
    bytes: Zeroizing<[u8; 32]>,
    is_prepared: bool,
}

/// What a sealing key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealingKeyState {
    /// It opens what replicas seal that use it already.
    Prepared,
    /// It seals.
    Active,
    /// It opens what it has sealed before.
    Old,
}

impl SealingKeyState {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
        }
    }
}

impl SealingKey {
    fn from_bytes(bytes: [u8; 32]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        Self {
            id,
            bytes: Zeroizing::new(bytes),
            is_prepared: false,
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

/// Returns 32 bytes that a secret stands for, for one purpose: HMAC-SHA256 of the words, each behind its length. They tell
/// nothing of the secret, nor of those for another purpose, as long as nobody can guess the secret.
///
/// # Panics
///
/// Never: HMAC takes keys of every length.
#[must_use]
pub fn derive_bytes(secret: &[u8], purpose: &[&str]) -> Zeroizing<[u8; 32]> {
    let mut hmac = <Hmac<Sha256> as Mac>::new_from_slice(secret).expect("a key of any length");
    for word in purpose {
        hmac.update(&(word.len() as u64).to_be_bytes());
        hmac.update(word.as_bytes());
    }
    Zeroizing::new(hmac.finalize().into_bytes().into())
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealingKeys({} keys)", self.0.len())
    }
}

impl SealingKeys {
    /// Makes one new key.
    #[must_use]
    pub fn generate() -> Self {
        Self(vec![SealingKey::from_bytes(random_bytes())])
    }

    /// Returns the key that a secret stands for, for one purpose: who has the secret opens what it sealed. The secret has to be
    /// one that nobody can guess.
    #[must_use]
    pub fn derive(secret: &[u8], purpose: &[&str]) -> Self {
        Self(vec![SealingKey::from_bytes(*derive_bytes(secret, purpose))])
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// Which line is no key; line 1 of a file without any.
    pub fn parse(text: &str) -> Result<Self, SealingError> {
        let mut keys = Vec::new();
        let mut is_prepared = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                is_prepared = line == PREPARED;
                continue;
            }
            let wrong = SealingError::Text { line: number + 1 };
            let Some(encoded) = line.strip_prefix(PREFIX) else {
                return Err(wrong);
            };
            let mut bytes = [0; 32];
            match STANDARD_NO_PAD.decode(encoded).map(Zeroizing::new) {
                Ok(decoded) if decoded.len() == 32 => bytes.copy_from_slice(&decoded),
                _ => return Err(wrong),
            }
            keys.push(SealingKey {
                // The first seals, whatever is written above it.
                is_prepared: is_prepared && !keys.is_empty(),
                ..SealingKey::from_bytes(bytes)
            });
            is_prepared = false;
            bytes.zeroize();
        }
        match keys.is_empty() {
            true => Err(SealingError::Text { line: 1 }),
            false => Ok(Self(keys)),
        }
    }

    /// Returns the text of the file.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for key in &self.0 {
            if key.is_prepared {
                text.push_str(PREPARED);
                text.push('\n');
            }
            text.push_str(PREFIX);
            STANDARD_NO_PAD.encode_string(*key.bytes, &mut text);
            text.push('\n');
        }
        text
    }

    /// Returns the id of each key, with what the key is used for, the active one first.
    pub fn describe(&self) -> impl Iterator<Item = (SealingKeyState, String)> {
        let keys = self.0.iter().enumerate();
        keys.map(|(index, key)| {
            let state = match (index, key.is_prepared) {
                (0, _) => SealingKeyState::Active,
                (_, true) => SealingKeyState::Prepared,
                (_, false) => SealingKeyState::Old,
            };
            let id = key.id.iter().map(|byte| format!("{byte:02x}"));
            (state, id.collect())
        })
    }

    /// Says whether there is a prepared key.
    #[must_use]
    pub fn has_prepared(&self) -> bool {
        self.0.iter().any(|key| key.is_prepared)
    }

    /// Adds a new key that opens and does not seal, unless there is one.
    pub(crate) fn add_prepared(&mut self) {
        if !self.has_prepared() {
            let key = SealingKey {
                is_prepared: true,
                ..SealingKey::from_bytes(random_bytes())
            };
            self.0.insert(1, key);
        }
    }

    /// Lets the prepared key seal from now on; says whether there is one.
    pub(crate) fn activate_prepared(&mut self) -> bool {
        let Some(index) = self.0.iter().position(|key| key.is_prepared) else {
            return false;
        };
        let mut key = self.0.remove(index);
        key.is_prepared = false;
        self.0.insert(0, key);
        true
    }

    /// Forgets the prepared key; says whether there was one.
    pub(crate) fn drop_prepared(&mut self) -> bool {
        let before = self.0.len();
        self.0.retain(|key| !key.is_prepared);
        self.0.len() < before
    }

    /// Forgets the old keys; returns how many.
    pub(crate) fn drop_old(&mut self) -> usize {
        let before = self.0.len();
        let mut index = 0;
        self.0.retain(|key| {
            index += 1;
            index == 1 || key.is_prepared
        });
        before - self.0.len()
    }

    /// Seals a secret for a place, such as `connections/7`.
    ///
    /// # Panics
    ///
    /// When the secret has more than 256 GiB.
    #[must_use]
    pub fn seal(&self, place: &str, secret: &[u8]) -> Vec<u8> {
        let (key, nonce) = (&self.0[0], random_bytes::<NONCE>());
        let payload = Payload {
            msg: secret,
            aad: place.as_bytes(),
        };
        let sealed = key.cipher().encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("the cipher takes secrets of up to 256 GiB");
        [&[FORM][..], &key.id, &nonce, &sealed].concat()
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    ///
    /// When no key opens it there.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let parts = sealed
            .strip_prefix(&[FORM])
            .and_then(|rest| rest.split_first_chunk::<KEY_ID>())
            .and_then(|(id, rest)| Some((id, rest.split_first_chunk::<NONCE>()?)));
        let (id, (nonce, sealed)) = parts.ok_or(SealingError::Opening)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let key = self
            .0
            .iter()
            .find(|key| key.id == *id)
            .ok_or(SealingError::Opening)?;
        let opened = key.cipher().decrypt(&XNonce::from(*nonce), payload);
        opened
            .map(Zeroizing::new)
            .map_err(|_| SealingError::Opening)
    }

    /// Returns what each secret that the active key has sealed begins with.
    #[must_use]
    pub fn active_mark(&self) -> [u8; MARK] {
        let mut mark = [FORM; MARK];
        mark[1..].copy_from_slice(&self.0[0].id);
        mark
    }

    /// Says whether the active key sealed this: what another one sealed is to be sealed again.
    #[must_use]
    pub fn is_sealed_by_active(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.active_mark())
    }
}

#[cfg(test)]
mod tests;
