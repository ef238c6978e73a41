//! From messages to frames, once for all who are sent the same.

mod blocks;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bowline_control_wire::{
    CapabilityVersion, Compression, FrameError, MapResponse, dialect, frame, frame_payload,
};
use bytes::Bytes;

pub use blocks::Blocks;

/// How one client reads messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dialect {
    /// The client's capability version.
    pub version: CapabilityVersion,
    /// How its frames are compressed.
    pub compression: Compression,
}

impl Dialect {
    /// Returns the frame of a message for this client.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when it can not be compressed.
    pub fn encode(self, mut message: MapResponse) -> Result<Bytes, FrameError> {
        dialect::adapt(&mut message, self.version);
        let json = serde_json::to_vec(&message).map_err(std::io::Error::from)?;
        frame(&[&frame_payload(&json, self.compression)?])
    }

    /// Returns the dialect that stands for all whose messages are the same.
    fn bucket(self) -> Self {
        if dialect::is_current(self.version) {
            Self {
                version: CapabilityVersion::DISPLAY_MESSAGES,
                ..self
            }
        } else {
            self
        }
    }
}

/// What makes a delta the same for several sessions: the class, the generations, the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeltaKey {
    class: u64,
    since: u64,
    until: u64,
    dialect: Dialect,
}

impl DeltaKey {
    /// Returns the key of a class's delta between two generations.
    #[must_use]
    pub fn new(class: u64, since: u64, until: u64, dialect: Dialect) -> Self {
        Self {
            class,
            since,
            until,
            dialect: dialect.bucket(),
        }
    }
}

/// How many encoded deltas are kept; the oldest generations go first.
const KEPT: usize = 256;

/// Encoded deltas by what makes them the same; `None` for one without content.
#[derive(Debug, Default)]
pub struct DeltaCache(Mutex<BTreeMap<(u64, DeltaKey), Option<Bytes>>>);

impl DeltaCache {
    /// Returns an encoded delta.
    pub fn get(&self, key: &DeltaKey) -> Option<Option<Bytes>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&(key.until, *key)).cloned()
    }

    /// Keeps an encoded delta.
    pub fn put(&self, key: DeltaKey, frame: Option<Bytes>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert((key.until, key), frame);
        while kept.len() > KEPT {
            kept.pop_first();
        }
    }
}
