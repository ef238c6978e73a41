//! From messages to frames, once for all who are sent the same.

mod blocks;

use std::collections::BTreeMap;

use bowline_control_wire::{
    CapabilityVersion, Compression, FrameError, MapResponse, dialect, encode_frame, encode_payload,
};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::view::{ClassId, Generation};

pub use blocks::PeerBlocks;

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
        dialect::adapt_message(&mut message, self.version);
        let json = serde_json::to_vec(&message).map_err(std::io::Error::from)?;
        encode_frame(&[&encode_payload(&json, self.compression)?])
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
    class: ClassId,
    since: Generation,
    until: Generation,
    dialect: Dialect,
}

impl DeltaKey {
    /// Returns the key of a class's delta between two generations.
    #[must_use]
    pub fn new(class: ClassId, since: Generation, until: Generation, dialect: Dialect) -> Self {
        Self {
            class,
            since,
            until,
            dialect: dialect.bucket(),
        }
    }
}

/// How many bytes of encoded deltas are kept.
const BUDGET: usize = 8 << 20;
/// About how many bytes an encoded delta takes besides its frame.
const OVERHEAD: usize = 128;

/// Encoded deltas by what makes them the same; `None` for one without content.
///
/// Only those that lead to the newest generation are kept: sessions look at the newest view.
#[derive(Debug, Default)]
pub struct DeltaCache(Mutex<KeptDeltas>);

#[derive(Debug, Default)]
struct KeptDeltas {
    /// The generation that all of them lead to.
    until: Generation,
    frames: BTreeMap<DeltaKey, Option<Bytes>>,
    bytes: usize,
}

impl DeltaCache {
    /// Returns an encoded delta.
    pub fn get(&self, key: &DeltaKey) -> Option<Option<Bytes>> {
        self.0.lock().frames.get(key).cloned()
    }

    /// Keeps an encoded delta, unless deltas to a newer generation are kept already or there is no room for it.
    pub fn put(&self, key: DeltaKey, frame: Option<Bytes>) {
        let mut deltas = self.0.lock();
        if key.until > deltas.until {
            *deltas = KeptDeltas {
                until: key.until,
                ..KeptDeltas::default()
            };
        }
        let bytes = deltas.bytes + estimate_bytes(&frame);
        if key.until < deltas.until || bytes > BUDGET || deltas.frames.contains_key(&key) {
            return;
        }
        deltas.frames.insert(key, frame);
        deltas.bytes = bytes;
    }
}

fn estimate_bytes(frame: &Option<Bytes>) -> usize {
    OVERHEAD + frame.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests;
