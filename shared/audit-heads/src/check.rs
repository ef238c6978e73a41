//! Follows a trail from its first entry, and compares it with exported heads. Pure.
//!
//! What can be found, by the example of a trail that had five entries when its head was exported:
//!
//! * an entry was changed, removed or moved, and nothing else: the chain of hashes breaks at that entry;
//! * the hashes behind were computed again: the chain holds, and the fifth hash differs from the exported one. Which entry was
//!   changed is then known only between two exported heads;
//! * the newest entries were taken away: the trail ends before the fifth.

use std::collections::BTreeMap;

use bowline_db::{AUDIT_ORIGIN, AuditEntry};
use bowline_ids::TailnetId;

use crate::SignedHead;

/// What is wrong with a trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrailBreak {
    /// The entry is missing, or does not follow from the one before.
    #[error("entry {sequence} is missing or was changed")]
    Chain {
        /// Its place.
        sequence: u64,
    },
    /// The chain holds, and differs from an exported head: it was computed again.
    #[error(
        "the trail was rewritten: the first wrong entry is between {first} and {exported}, whose hash was exported as another"
    )]
    Rewritten {
        /// The earliest entry that can be wrong.
        first: u64,
        /// The place of the exported head.
        exported: u64,
    },
    /// The trail ends before an exported head.
    #[error(
        "entry {sequence} is missing: the trail ends before it, and entry {exported} was exported"
    )]
    Cut {
        /// The first entry that is missing.
        sequence: u64,
        /// The place of the exported head.
        exported: u64,
    },
}

impl TrailBreak {
    /// Returns the first entry that is, or may be, wrong.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Chain { sequence } | Self::Cut { sequence, .. } => *sequence,
            Self::Rewritten { first, .. } => *first,
        }
    }
}

/// A trail that is being followed.
#[derive(Debug)]
pub struct TrailCheck {
    tailnet: TailnetId,
    /// The hashes that were exported, by place.
    exported: BTreeMap<u64, Vec<Option<[u8; 32]>>>,
    /// The newest entry that was seen.
    sequence: u64,
    hash: [u8; 32],
    /// The newest place whose exported head was met.
    confirmed: u64,
}

impl TrailCheck {
    /// Begins before the first entry of a trail; `heads` are those of this trail.
    #[must_use]
    pub fn new(tailnet: TailnetId, heads: &[SignedHead]) -> Self {
        let mut exported = BTreeMap::<_, Vec<_>>::new();
        for head in heads {
            exported
                .entry(head.sequence)
                .or_default()
                .push(head.hash_bytes());
        }
        Self {
            tailnet,
            exported,
            sequence: 0,
            hash: AUDIT_ORIGIN,
            confirmed: 0,
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    ///
    /// What is wrong: the first such thing counts.
    pub fn take_entry(&mut self, entry: &AuditEntry) -> Result<(), TrailBreak> {
        self.sequence += 1;
        self.hash = entry.hash_after(&self.hash, self.tailnet);
        if entry.sequence != self.sequence || entry.hash != self.hash {
            return Err(TrailBreak::Chain {
                sequence: self.sequence,
            });
        }
        if let Some(exported) = self.exported.get(&self.sequence) {
            if exported.iter().any(|hash| *hash != Some(self.hash)) {
                return Err(TrailBreak::Rewritten {
                    first: self.confirmed + 1,
                    exported: self.sequence,
                });
            }
            self.confirmed = self.sequence;
        }
        Ok(())
    }

    /// Ends behind the newest entry; returns the number of entries, and up to which of them exported heads agree.
    ///
    /// # Errors
    ///
    /// When entries are missing.
    pub fn finish(self) -> Result<(u64, u64), TrailBreak> {
        match self.exported.last_key_value() {
            Some((&exported, _)) if exported > self.sequence => Err(TrailBreak::Cut {
                sequence: self.sequence + 1,
                exported,
            }),
            _ => Ok((self.sequence, self.confirmed)),
        }
    }
}
