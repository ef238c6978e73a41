//! Keys that a tailnet trusts.

use std::collections::BTreeMap;

use crate::{
    cbor::{CborReader, CborWriter, when},
    error::{LockFormatError, LockUpdateError},
};

/// How a key is named: by itself, 32 bytes.
pub type KeyId = [u8; 32];

const MOST_VOTES: u64 = 4096;
const MOST_METADATA: usize = 512;
/// Clients set no limit of their own to the pairs, only to their bytes.
const MOST_PAIRS: usize = 32;
/// Ed25519, the only kind.
const KIND: u64 = 1;

/// A key that is trusted to sign updates and node keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockKey {
    /// The public key, which is its name as well.
    pub id: KeyId,
    /// How much its signature weighs where the log forks.
    pub votes: u64,
    /// What the administrator noted with it.
    pub metadata: BTreeMap<String, String>,
}

impl LockKey {
    pub(crate) fn check(&self) -> Result<(), LockUpdateError> {
        if !(1..=MOST_VOTES).contains(&self.votes) {
            return Err(LockUpdateError::Votes(self.votes));
        }
        let pairs = self.metadata.iter();
        let bytes = pairs.map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MOST_METADATA {
            return Err(LockUpdateError::Metadata(bytes));
        }
        if self.metadata.len() > MOST_PAIRS {
            return Err(LockUpdateError::MetadataPairs(self.metadata.len()));
        }
        Ok(())
    }

    pub(crate) fn read(reader: &mut CborReader<'_>) -> Result<Self, LockUpdateError> {
        let mut kind = None;
        let mut id = None;
        let mut votes = 0;
        let mut metadata = BTreeMap::new();
        for _ in 0..reader.read_map()? {
            match reader.read_number()? {
                1 => kind = Some(reader.read_number()?),
                2 => votes = reader.read_number()?,
                3 => id = Some(reader.read_array("a trusted key")?),
                12 => metadata = read_metadata(reader)?,
                other => return Err(LockFormatError::UnknownMember(other).into()),
            }
        }
        match kind {
            Some(KIND) => {}
            other => return Err(LockUpdateError::KeyKind(other.unwrap_or_default())),
        }
        let id = id.ok_or(LockFormatError::NotCanonical)?;
        Ok(Self {
            id,
            votes,
            metadata,
        })
    }

    pub(crate) fn write(&self, writer: &mut CborWriter) {
        let write_own_metadata = |writer: &mut CborWriter| write_metadata(&self.metadata, writer);
        writer.write_members(&[
            (1, Some(&|writer| writer.write_number(KIND))),
            (2, Some(&|writer| writer.write_number(self.votes))),
            (3, Some(&|writer| writer.write_bytes(&self.id))),
            (12, when(!self.metadata.is_empty(), &write_own_metadata)),
        ]);
    }
}

pub(crate) fn read_metadata(
    reader: &mut CborReader<'_>,
) -> Result<BTreeMap<String, String>, LockFormatError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..reader.read_map()? {
        let name = reader.read_text()?.to_owned();
        metadata.insert(name, reader.read_text()?.to_owned());
    }
    Ok(metadata)
}

/// Writes texts in the order of CTAP2: shorter names first.
pub(crate) fn write_metadata(metadata: &BTreeMap<String, String>, writer: &mut CborWriter) {
    let mut pairs: Vec<_> = metadata.iter().collect();
    pairs.sort_by_key(|(name, _)| (name.len(), name.as_bytes()));
    writer.write_map(pairs.len());
    for (name, value) in pairs {
        writer.write_text(name);
        writer.write_text(value);
    }
}
