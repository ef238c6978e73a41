//! What is trusted at one moment.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::{
    cbor::{CborReader, CborWriter, when},
    disablement,
    error::{LockFormatError, LockUpdateError},
    key::{KeyId, LockKey},
    update::{LockUpdate, UpdateKind},
};

const MOST_DISABLEMENT_VALUES: usize = 32;
pub(crate) const MOST_KEYS: usize = 512;

/// The keys that are trusted, and who may switch the lock off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockState {
    /// What is kept of the secrets that switch it off.
    pub disablement_values: Vec<[u8; disablement::LENGTH]>,
    /// The trusted keys. States share them: a state is computed for each update of a log.
    pub keys: Vec<Arc<LockKey>>,
    /// Two numbers, drawn when the lock was made, which never change.
    pub ids: (u64, u64),
}

impl LockState {
    /// Finds a trusted key.
    #[must_use]
    pub fn find_key(&self, id: &KeyId) -> Option<&LockKey> {
        let found = self.keys.iter().find(|key| key.id == *id);
        found.map(|key| &**key)
    }

    /// Tells whether a disablement value is one of the state's.
    #[must_use]
    pub fn has_disablement_value(&self, value: &[u8; disablement::LENGTH]) -> bool {
        let own = self.disablement_values.iter();
        own.fold(false, |found, own| found | bool::from(own.ct_eq(value)))
    }

    /// Applies an update whose form and signatures were checked.
    pub(crate) fn apply(&mut self, update: &LockUpdate) -> Result<(), LockUpdateError> {
        match &update.kind {
            UpdateKind::AddKey(key) => {
                if self.find_key(&key.id).is_some() {
                    return Err(LockUpdateError::KeyTwice);
                }
                if self.keys.len() >= MOST_KEYS {
                    return Err(LockUpdateError::Keys(self.keys.len() + 1));
                }
                self.keys.push(Arc::new(key.clone()));
            }
            UpdateKind::RemoveKey(id) => {
                let found = self.keys.iter().position(|key| key.id == *id);
                let at = found.ok_or(LockUpdateError::UnknownKey)?;
                if self.keys.len() == 1 {
                    return Err(LockUpdateError::LastKey);
                }
                self.keys.remove(at);
            }
            UpdateKind::UpdateKey {
                id,
                votes,
                metadata,
            } => {
                let found = self.keys.iter_mut().find(|key| key.id == *id);
                let key = found.ok_or(LockUpdateError::UnknownKey)?;
                let mut changed = LockKey::clone(key);
                changed.votes = votes.unwrap_or(changed.votes);
                if !metadata.is_empty() {
                    changed.metadata.clone_from(metadata);
                }
                changed.check()?;
                *key = Arc::new(changed);
            }
            UpdateKind::Checkpoint(state) => {
                if state.ids != self.ids {
                    return Err(LockUpdateError::OtherLock);
                }
                self.clone_from(state);
            }
            // A later kind only adds: for whoever does not know it, nothing has changed.
            UpdateKind::NoChange | UpdateKind::Unknown(_) => {}
        }
        Ok(())
    }

    /// Checks a state that a checkpoint has.
    pub(crate) fn check(&self) -> Result<(), LockUpdateError> {
        let values = &self.disablement_values;
        if values.is_empty() || values.len() > MOST_DISABLEMENT_VALUES {
            return Err(LockUpdateError::DisablementValues(values.len()));
        }
        if has_repetition(values.clone()) {
            return Err(LockUpdateError::DisablementTwice);
        }
        if self.keys.is_empty() || self.keys.len() > MOST_KEYS {
            return Err(LockUpdateError::Keys(self.keys.len()));
        }
        if has_repetition(self.keys.iter().map(|key| key.id).collect()) {
            return Err(LockUpdateError::KeyTwice);
        }
        self.keys.iter().try_for_each(|key| key.check())
    }

    pub(crate) fn read(reader: &mut CborReader<'_>) -> Result<Self, LockUpdateError> {
        let mut state = Self::default();
        for _ in 0..reader.read_map()? {
            match reader.read_number()? {
                1 if reader.skip_null() => {}
                1 => return Err(LockUpdateError::LastHash),
                2 if reader.skip_null() => return Err(LockUpdateError::DisablementValues(0)),
                2 => {
                    for _ in 0..reader.read_list()? {
                        let value = reader.read_array("a disablement value")?;
                        state.disablement_values.push(value);
                    }
                }
                3 if reader.skip_null() => return Err(LockUpdateError::Keys(0)),
                3 => {
                    for _ in 0..reader.read_list()? {
                        state.keys.push(Arc::new(LockKey::read(reader)?));
                    }
                }
                4 => state.ids.0 = reader.read_number()?,
                5 => state.ids.1 = reader.read_number()?,
                other => return Err(LockFormatError::UnknownMember(other).into()),
            }
        }
        Ok(state)
    }

    pub(crate) fn write(&self, writer: &mut CborWriter) {
        let write_values = |writer: &mut CborWriter| {
            writer.write_list(self.disablement_values.len());
            for value in &self.disablement_values {
                writer.write_bytes(value);
            }
        };
        let write_keys = |writer: &mut CborWriter| {
            writer.write_list(self.keys.len());
            for key in &self.keys {
                key.write(writer);
            }
        };
        let write_first = |writer: &mut CborWriter| writer.write_number(self.ids.0);
        let write_second = |writer: &mut CborWriter| writer.write_number(self.ids.1);
        writer.write_members(&[
            (1, Some(&CborWriter::write_null)),
            (2, Some(&write_values)),
            (3, Some(&write_keys)),
            (4, when(self.ids.0 != 0, &write_first)),
            (5, when(self.ids.1 != 0, &write_second)),
        ]);
    }
}

fn has_repetition(mut ids: Vec<[u8; 32]>) -> bool {
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}
