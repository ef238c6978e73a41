//! Updates: what is added to the log of a tailnet.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cbor::{CborReader, CborWriter, require_canonical, when},
    error::{LockFormatError, LockUpdateError},
    hash::{UpdateHash, hash_bytes},
    key::{KeyId, LockKey, read_metadata, write_metadata},
    state::LockState,
    verify::is_signed_by_trusted,
};

/// More than a checkpoint of 512 keys with all their metadata and signatures has.
const MOST_BYTES: usize = 512 << 10;

/// An update of the log, read and checked as far as it can be checked by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockUpdate {
    /// What it changes.
    pub kind: UpdateKind,
    /// The update before it; `None` for the first one.
    pub parent: Option<UpdateHash>,
    /// Who has signed it.
    pub signatures: Vec<UpdateSignature>,
}

/// What an update changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// From here on the key is trusted.
    AddKey(LockKey),
    /// From here on the key is not trusted.
    RemoveKey(KeyId),
    /// Nothing.
    NoChange,
    /// Votes or metadata of a key.
    UpdateKey {
        /// Which key.
        id: KeyId,
        /// Its votes from here on, where they change.
        votes: Option<u64>,
        /// Its metadata from here on; empty where they do not change.
        metadata: BTreeMap<String, String>,
    },
    /// From here on exactly this is trusted.
    Checkpoint(LockState),
    /// Of a later version: for whoever does not know it, nothing has changed.
    Unknown(u8),
}

/// A signature of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateSignature {
    /// Who made it.
    pub key: KeyId,
    /// Ed25519.
    pub signature: [u8; 64],
}

/// The members of an update as they stand there.
#[derive(Default)]
struct UpdateMembers {
    kind: Option<u64>,
    parent: Option<UpdateHash>,
    key: Option<LockKey>,
    key_id: Option<KeyId>,
    state: Option<LockState>,
    votes: Option<u64>,
    metadata: BTreeMap<String, String>,
    signatures: Vec<UpdateSignature>,
}

impl UpdateKind {
    /// Its name, as clients print it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddKey(_) => "add-key",
            Self::RemoveKey(_) => "remove-key",
            Self::NoChange => "no-op",
            Self::UpdateKey { .. } => "update-key",
            Self::Checkpoint(_) => "checkpoint",
            Self::Unknown(_) => "unknown",
        }
    }

    fn number(&self) -> u8 {
        match self {
            Self::AddKey(_) => 1,
            Self::RemoveKey(_) => 2,
            Self::NoChange => 3,
            Self::UpdateKey { .. } => 4,
            Self::Checkpoint(_) => 5,
            Self::Unknown(number) => *number,
        }
    }
}

impl LockUpdate {
    /// Reads an update.
    ///
    /// # Errors
    ///
    /// It is not in canonical form, or has not exactly the members of its kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, LockUpdateError> {
        let (length, most) = (bytes.len(), MOST_BYTES);
        if length > most {
            return Err(LockFormatError::TooLong { length, most }.into());
        }
        let mut reader = CborReader::new(bytes);
        let members = UpdateMembers::read(&mut reader)?;
        reader.finish()?;
        let update = members.into_update()?;
        require_canonical(bytes, &update.encode())?;
        Ok(update)
    }

    /// Writes it in its canonical form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(&self.signatures)
    }

    /// The hash that names it.
    #[must_use]
    pub fn hash(&self) -> UpdateHash {
        UpdateHash(hash_bytes(&self.encode()))
    }

    /// The hash that is signed: without the signatures.
    #[must_use]
    pub fn signed_hash(&self) -> [u8; 32] {
        hash_bytes(&self.encode_with(&[]))
    }

    /// Checks that keys which a state trusts have signed it, each once, and nobody else. Clients take one key more than
    /// once; it weighs as one, and costs a check each time.
    pub(crate) fn check_signatures(&self, state: &LockState) -> Result<(), LockUpdateError> {
        if self.signatures.is_empty() {
            return Err(LockUpdateError::Unsigned);
        }
        let mut signers = BTreeSet::new();
        let is_first = |one: &UpdateSignature| signers.insert(one.key);
        if !self.signatures.iter().all(is_first) {
            return Err(LockUpdateError::SignedTwice);
        }
        let hash = self.signed_hash();
        for signature in &self.signatures {
            if state.find_key(&signature.key).is_none() {
                return Err(LockUpdateError::UntrustedSigner);
            }
            if !is_signed_by_trusted(&signature.key, &hash, &signature.signature) {
                return Err(LockUpdateError::BadSignature);
            }
        }
        Ok(())
    }

    fn encode_with(&self, signatures: &[UpdateSignature]) -> Vec<u8> {
        let write_kind = |writer: &mut CborWriter| writer.write_number(self.kind.number().into());
        let write_parent = |writer: &mut CborWriter| match self.parent {
            Some(parent) => writer.write_bytes(&parent.0),
            None => writer.write_null(),
        };
        let write_key = |writer: &mut CborWriter| {
            if let UpdateKind::AddKey(key) = &self.kind {
                key.write(writer);
            }
        };
        let write_key_id = |writer: &mut CborWriter| {
            if let UpdateKind::RemoveKey(id) | UpdateKind::UpdateKey { id, .. } = &self.kind {
                writer.write_bytes(id);
            }
        };
        let write_state = |writer: &mut CborWriter| {
            if let UpdateKind::Checkpoint(state) = &self.kind {
                state.write(writer);
            }
        };
        let changes = match &self.kind {
            UpdateKind::UpdateKey {
                votes, metadata, ..
            } => (*votes, Some(metadata).filter(|it| !it.is_empty())),
            _ => (None, None),
        };
        let write_votes =
            |writer: &mut CborWriter| writer.write_number(changes.0.unwrap_or_default());
        let write_changes = |writer: &mut CborWriter| {
            if let Some(metadata) = changes.1 {
                write_metadata(metadata, writer);
            }
        };
        let write_signatures = |writer: &mut CborWriter| {
            writer.write_list(signatures.len());
            for one in signatures {
                writer.write_members(&[
                    (1, Some(&|writer| writer.write_bytes(&one.key))),
                    (2, Some(&|writer| writer.write_bytes(&one.signature))),
                ]);
            }
        };
        let (is_add, is_checkpoint) = (
            matches!(self.kind, UpdateKind::AddKey(_)),
            matches!(self.kind, UpdateKind::Checkpoint(_)),
        );
        let names_key = matches!(
            self.kind,
            UpdateKind::RemoveKey(_) | UpdateKind::UpdateKey { .. }
        );
        let mut writer = CborWriter::default();
        writer.write_members(&[
            (1, Some(&write_kind)),
            (2, Some(&write_parent)),
            (3, when(is_add, &write_key)),
            (4, when(names_key, &write_key_id)),
            (5, when(is_checkpoint, &write_state)),
            (6, when(changes.0.is_some(), &write_votes)),
            (7, when(changes.1.is_some(), &write_changes)),
            (23, when(!signatures.is_empty(), &write_signatures)),
        ]);
        writer.into_bytes()
    }
}

impl UpdateMembers {
    fn read(reader: &mut CborReader<'_>) -> Result<Self, LockUpdateError> {
        let mut members = Self::default();
        for _ in 0..reader.read_map()? {
            match reader.read_number()? {
                1 => members.kind = Some(reader.read_number()?),
                2 if reader.skip_null() => {}
                2 => members.parent = Some(UpdateHash(reader.read_array("the parent")?)),
                3 => members.key = Some(LockKey::read(reader)?),
                4 => members.key_id = Some(reader.read_array("the key id")?),
                5 => members.state = Some(LockState::read(reader)?),
                6 => members.votes = Some(reader.read_number()?),
                7 => members.metadata = read_metadata(reader)?,
                23 => members.signatures = read_signatures(reader)?,
                other => return Err(LockFormatError::UnknownMember(other).into()),
            }
        }
        Ok(members)
    }

    /// Checks that there is what the kind has to have, and nothing else.
    fn into_update(self) -> Result<LockUpdate, LockUpdateError> {
        let number = self.kind.ok_or(LockFormatError::NotCanonical)?;
        let (has_key, has_id) = (self.key.is_some(), self.key_id.is_some());
        let has_state = self.state.is_some();
        let changes = self.votes.is_some() || !self.metadata.is_empty();
        let surplus = |kind, members| Err(LockUpdateError::Surplus { kind, members });
        let missing = |kind, member| LockUpdateError::Missing { kind, member };
        let kind = match number {
            1 => {
                let key = self.key.ok_or(missing("add-key", "key"))?;
                if has_id || has_state || changes {
                    return surplus("add-key", "a key");
                }
                key.check()?;
                UpdateKind::AddKey(key)
            }
            2 => {
                let id = self.key_id.ok_or(missing("remove-key", "key id"))?;
                if has_key || has_state || changes {
                    return surplus("remove-key", "a key id");
                }
                UpdateKind::RemoveKey(id)
            }
            4 => {
                let id = self.key_id.ok_or(missing("update-key", "key id"))?;
                if !changes {
                    return Err(missing("update-key", "votes and no metadata"));
                }
                if has_key || has_state {
                    return surplus("update-key", "a key id, votes and metadata");
                }
                UpdateKind::UpdateKey {
                    id,
                    votes: self.votes,
                    metadata: self.metadata,
                }
            }
            5 => {
                let state = self.state.ok_or(missing("checkpoint", "state"))?;
                if has_key || has_id || changes {
                    return surplus("checkpoint", "a state");
                }
                state.check()?;
                UpdateKind::Checkpoint(state)
            }
            // What members of other kinds mean nobody knows.
            _ if has_key || has_id || has_state || changes => {
                return surplus("no-op or unknown", "a parent");
            }
            3 => UpdateKind::NoChange,
            other => {
                let field = "the kind of the update";
                let range = |_| LockFormatError::Range {
                    field,
                    found: other,
                };
                UpdateKind::Unknown(u8::try_from(other).map_err(range)?)
            }
        };
        Ok(LockUpdate {
            kind,
            parent: self.parent,
            signatures: self.signatures,
        })
    }
}

fn read_signatures(reader: &mut CborReader<'_>) -> Result<Vec<UpdateSignature>, LockUpdateError> {
    let mut signatures = Vec::new();
    for _ in 0..reader.read_list()? {
        let (mut key, mut signature) = (None, None);
        for _ in 0..reader.read_map()? {
            match reader.read_number()? {
                1 => key = Some(reader.read_array("the key id of a signature")?),
                2 => signature = Some(reader.read_array("a signature")?),
                other => return Err(LockFormatError::UnknownMember(other).into()),
            }
        }
        let (Some(key), Some(signature)) = (key, signature) else {
            return Err(LockFormatError::NotCanonical.into());
        };
        signatures.push(UpdateSignature { key, signature });
    }
    Ok(signatures)
}
