//! A head as it is exported: a line of JSON, signed.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::{AuditKey, AuditPublicKey};

/// The first word of what is signed: a signature of this is of nothing else.
const FORM: &str = "bowline-audit-head-1";

/// Why a line is no head that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is another thing.
    #[error("it is no exported head: {0}")]
    Form(String),
    /// The signature is not by the key that it names.
    #[error("its signature is wrong: it was changed, or is not by {0}")]
    Signature(String),
}

/// The end of one owner's trail of one tailnet at a moment, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// Whose trail it is, such as `identity`.
    pub owner: String,
    /// The tailnet.
    pub tailnet_id: u64,
    /// The number of entries.
    pub sequence: u64,
    /// The hash of the newest, in hexadecimal digits.
    pub hash: String,
    /// When it was signed.
    pub time: String,
    /// The public key.
    pub key: String,
    /// By that key.
    pub signature: String,
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadFacts<'a> {
    pub(crate) owner: &'a str,
    pub(crate) tailnet_id: u64,
    pub(crate) sequence: u64,
    pub(crate) hash: &'a [u8],
}

impl SignedHead {
    pub(crate) fn sign(facts: HeadFacts<'_>, time: DateTime<Utc>, key: &AuditKey) -> Self {
        let mut head = Self {
            owner: facts.owner.to_owned(),
            tailnet_id: facts.tailnet_id,
            sequence: facts.sequence,
            hash: hex::encode(facts.hash),
            time: time.to_rfc3339_opts(SecondsFormat::Micros, true),
            key: key.public().to_string(),
            signature: String::new(),
        };
        head.signature = STANDARD_NO_PAD.encode(key.sign(head.signed_text().as_bytes()));
        head
    }

    /// Reads a line, and checks its signature by the key that it names.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn parse(line: &str) -> Result<(Self, AuditPublicKey), HeadError> {
        let head: Self =
            serde_json::from_str(line).map_err(|error| HeadError::Form(error.to_string()))?;
        let key: AuditPublicKey = head
            .key
            .parse()
            .map_err(|_| HeadError::Form("its key is none".to_owned()))?;
        let signature = STANDARD_NO_PAD.decode(&head.signature).unwrap_or_default();
        if !key.verify(head.signed_text().as_bytes(), &signature) {
            return Err(HeadError::Signature(head.key));
        }
        if head.signed_at().is_none() {
            return Err(HeadError::Form("its time is none".to_owned()));
        }
        Ok((head, key))
    }

    /// Returns the hash as bytes; `None` when it is none.
    #[must_use]
    pub fn hash_bytes(&self) -> Option<[u8; 32]> {
        hex::decode(&self.hash).ok()?.try_into().ok()
    }

    /// Returns when it was signed; `None` when that is no time.
    #[must_use]
    pub fn signed_at(&self) -> Option<DateTime<Utc>> {
        Some(DateTime::parse_from_rfc3339(&self.time).ok()?.to_utc())
    }

    fn signed_text(&self) -> String {
        let Self {
            owner,
            tailnet_id,
            sequence,
            hash,
            time,
            ..
        } = self;
        format!("{FORM}\n{owner}\n{tailnet_id}\n{sequence}\n{hash}\n{time}\n")
    }
}
