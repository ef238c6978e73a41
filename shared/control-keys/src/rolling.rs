//! Replacing the control keys while clients hold them.
//!
//! ```text
//!             noise.next  legacy.next   noise.key  legacy.key   noise.previous  legacy.previous
//! prepare         N           M             n          m               –               –
//! activate        –           –             N          M               n               m
//! retire          –           –             N          M               –               –
//! ```
//!
//! A command is a sequence of steps. Each replaces, moves or removes one file whole, so that after a crash between any two of
//! them the keys that clients may hold can be read, and the same command given again finishes.

use std::{fs, path::Path};

use bowline_clock::random_bytes;
use bowline_keys::PrivateKey;

use crate::{
    ControlKeyError, ControlKeyState, ControlKeys, ControlTransport,
    files::{failed, key_file, move_key, read_key, remove_key, sync, write_key},
};

/// Where a directory is between two rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RollStage {
    /// There are active keys only.
    Settled,
    /// One transport has its next key.
    HalfPrepared,
    /// Both have.
    Prepared,
    /// Of a next key an old one was made, and it has not yet its place.
    Activating,
    /// There are old keys.
    Overlapping,
}

impl RollStage {
    /// Finds it from the files that are there.
    fn of(directory: &Path) -> Result<Self, ControlKeyError> {
        ControlKeys::load(directory)?;
        let count = |state| {
            let has = |transport: &_| key_file(directory, *transport, state).exists();
            ControlTransport::ALL.iter().filter(|one| has(one)).count()
        };
        let (prepared, old) = (
            count(ControlKeyState::Prepared),
            count(ControlKeyState::Old),
        );
        Ok(match (prepared, old) {
            (0, 0) => Self::Settled,
            (0, _) => Self::Overlapping,
            (1, 0) => Self::HalfPrepared,
            (_, 0) => Self::Prepared,
            _ => Self::Activating,
        })
    }
}

impl ControlKeys {
    /// Makes the next key of each transport: it opens, and is not offered. Keys that are prepared stay.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::OldInUse`] while there are old keys, [`ControlKeyError::CutShort`] in the midst of an activation, or
    /// what is wrong with a file.
    pub fn prepare(directory: &Path) -> Result<(), ControlKeyError> {
        match RollStage::of(directory)? {
            RollStage::Settled | RollStage::HalfPrepared => {}
            RollStage::Prepared => return Ok(()),
            RollStage::Activating => return Err(ControlKeyError::CutShort(directory.to_owned())),
            RollStage::Overlapping => return Err(ControlKeyError::OldInUse(directory.to_owned())),
        }
        for transport in ControlTransport::ALL {
            let file = |state| key_file(directory, transport, state);
            let next = file(ControlKeyState::Prepared);
            if !next.exists() {
                let key = PrivateKey::from_random(random_bytes());
                write_key(&next, &key, &file(ControlKeyState::Active))?;
            }
        }
        sync(directory)
    }

    /// Removes the prepared keys; says whether there were any.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::CutShort`] in the midst of an activation: clients may have been offered the keys. Or what is wrong with
    /// a file.
    pub fn drop_prepared(directory: &Path) -> Result<bool, ControlKeyError> {
        match RollStage::of(directory)? {
            RollStage::Settled | RollStage::Overlapping => return Ok(false),
            RollStage::HalfPrepared | RollStage::Prepared => {}
            RollStage::Activating => return Err(ControlKeyError::CutShort(directory.to_owned())),
        }
        for transport in ControlTransport::ALL {
            remove_key(&key_file(directory, transport, ControlKeyState::Prepared))?;
        }
        sync(directory)?;
        Ok(true)
    }

    /// Checks that there are keys to activate.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::NotPrepared`] or [`ControlKeyError::HalfPrepared`], or what is wrong with a file.
    pub fn check_prepared(directory: &Path) -> Result<(), ControlKeyError> {
        match RollStage::of(directory)? {
            RollStage::Prepared | RollStage::Activating => Ok(()),
            RollStage::HalfPrepared => Err(ControlKeyError::HalfPrepared(directory.to_owned())),
            RollStage::Settled | RollStage::Overlapping => {
                Err(ControlKeyError::NotPrepared(directory.to_owned()))
            }
        }
    }

    /// Offers the prepared keys from now on; the active ones become old. One that was cut short is finished.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::NotPrepared`] or [`ControlKeyError::HalfPrepared`], or what is wrong with a file.
    pub fn activate(directory: &Path) -> Result<(), ControlKeyError> {
        Self::check_prepared(directory)?;
        for transport in ControlTransport::ALL {
            activate_transport(directory, transport)?;
        }
        Ok(())
    }

    /// Says whether there are old keys to retire.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::CutShort`] in the midst of an activation, or what is wrong with a file.
    pub fn has_old(directory: &Path) -> Result<bool, ControlKeyError> {
        match RollStage::of(directory)? {
            RollStage::Activating => Err(ControlKeyError::CutShort(directory.to_owned())),
            stage => Ok(stage == RollStage::Overlapping),
        }
    }

    /// Removes the old keys: clients that still hold them have to be started again. Says whether there were any.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::CutShort`] in the midst of an activation, or what is wrong with a file.
    pub fn retire(directory: &Path) -> Result<bool, ControlKeyError> {
        if !Self::has_old(directory)? {
            return Ok(false);
        }
        for transport in ControlTransport::ALL {
            remove_key(&key_file(directory, transport, ControlKeyState::Old))?;
        }
        sync(directory)?;
        Ok(true)
    }

    /// Makes the Noise key that another server had the active one, so that its clients know this server: until they
    /// are started again they know no other. The active one becomes old. Where there are no keys, the others are
    /// made. Says whether anything changed.
    ///
    /// # Errors
    ///
    /// [`ControlKeyError::OldInUse`], [`ControlKeyError::Prepared`] or [`ControlKeyError::CutShort`] in the midst of a roll, or
    /// what is wrong with a file.
    pub fn adopt_noise(directory: &Path, key: &PrivateKey) -> Result<bool, ControlKeyError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let file = |state| key_file(directory, ControlTransport::Noise, state);
        let (active, old) = (file(ControlKeyState::Active), file(ControlKeyState::Old));
        let public = |key: &PrivateKey| key.public_bytes();
        if let Some(present) = read_key(&active)? {
            match RollStage::of(directory) {
                Ok(RollStage::HalfPrepared | RollStage::Prepared) => {
                    return Err(ControlKeyError::Prepared(directory.to_owned()));
                }
                Ok(RollStage::Activating) => {
                    return Err(ControlKeyError::CutShort(directory.to_owned()));
                }
                // The other transport's key is missing after a call that was cut short.
                Ok(RollStage::Settled | RollStage::Overlapping)
                | Err(ControlKeyError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
            if public(&present) == public(key) {
                return Ok(false);
            }
            // One that was cut short has left the same key in both places.
            let before = read_key(&old)?;
            if before.is_some_and(|before| public(&before) != public(&present)) {
                return Err(ControlKeyError::OldInUse(directory.to_owned()));
            }
            write_key(&old, &present, &active)?;
            sync(directory)?;
        }
        write_key(&active, key, &active)?;
        sync(directory)?;
        Self::create(directory)?;
        Ok(true)
    }
}

/// Puts a transport's prepared key in place, if it is not yet.
fn activate_transport(
    directory: &Path,
    transport: ControlTransport,
) -> Result<(), ControlKeyError> {
    let file = |state| key_file(directory, transport, state);
    let (prepared, active) = (
        file(ControlKeyState::Prepared),
        file(ControlKeyState::Active),
    );
    if !prepared.exists() {
        return Ok(());
    }
    let Some(key) = read_key(&active)? else {
        return Err(ControlKeyError::Missing(directory.to_owned()));
    };
    write_key(&file(ControlKeyState::Old), &key, &active)?;
    sync(directory)?;
    move_key(&prepared, &active)?;
    sync(directory)
}

#[cfg(test)]
mod tests;
