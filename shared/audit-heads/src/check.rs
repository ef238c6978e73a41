//! Follows a trail from its first entry, and compares it with exported heads. Pure.
//!
//! What can be found, by the example of a trail that had five entries when its head was exported:
//!
//! * an entry was changed, removed or moved, and nothing else: the chain of hashes breaks at that entry;
//! * the hashes behind were computed again: the chain holds, and the fifth hash differs from the exported one. Which entry was
//!   changed is then known only between two exported heads;
//! * the newest entries were taken away: the trail ends before the fifth.
//!
//! A restored backup looks like the last two, and begins an epoch: its first entry afterwards is `epoch.begin`. Somebody who cuts
//! entries off can write such an entry, too. So an operator says that a break there is meant, by the hash of that entry, which
//! stands for all entries before it.

use std::collections::{BTreeMap, BTreeSet};

use bowline_db::{AUDIT_ORIGIN, AuditEntry};
use bowline_ids::TailnetId;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::SignedHead;

/// What the first entry says after a database has gone back.
const EPOCH: &str = "epoch.begin";

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
        "the trail was rewritten: the first wrong entry is between {first} and {exported}, whose hash was exported as another{}",
        say_epoch(epoch.as_ref())
    )]
    Rewritten {
        /// The earliest entry that can be wrong.
        first: u64,
        /// The place of the exported head.
        exported: u64,
        /// The epoch that has begun since that head was signed, at or before its place.
        epoch: Option<EpochEntry>,
    },
    /// The trail ends before an exported head.
    #[error(
        "entry {sequence} is missing: the trail ends before it, and entry {exported} was exported{}",
        say_epoch(epoch.as_ref())
    )]
    Cut {
        /// The first entry that is missing.
        sequence: u64,
        /// The place of the exported head.
        exported: u64,
        /// The epoch that has begun since that head was signed, at or before its place.
        epoch: Option<EpochEntry>,
    },
}

/// An entry `epoch.begin`: the database has gone back to an earlier state there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// Its place.
    pub sequence: u64,
    /// When.
    pub time: DateTime<Utc>,
    /// The hash of the entry.
    pub hash: [u8; 32],
}

fn say_epoch(epoch: Option<&EpochEntry>) -> String {
    let Some(epoch) = epoch else {
        return String::new();
    };
    let (sequence, hash) = (epoch.sequence, hex::encode(epoch.hash));
    let time = epoch.time.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!(
        "; entry {sequence} says that the database went back at {time}: if you restored a backup then, --accept-break {hash}"
    )
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

/// What a trail was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTrail {
    /// The number of entries.
    pub entries: u64,
    /// Up to which of them exported heads agree.
    pub confirmed: u64,
    /// The breaks that were accepted.
    pub accepted: Vec<EpochEntry>,
}

#[derive(Clone, Debug)]
struct ExportedHash {
    hash: Option<[u8; 32]>,
    signed_at: Option<DateTime<Utc>>,
}

/// A trail that is being followed.
#[derive(Debug)]
pub struct TrailCheck {
    tailnet: TailnetId,
    /// What was exported, by place.
    exported: BTreeMap<u64, Vec<ExportedHash>>,
    /// The hashes of the entries `epoch.begin` at which a break is meant.
    accepted: BTreeSet<[u8; 32]>,
    met: Vec<EpochEntry>,
    /// The newest entry `epoch.begin`, where no break is meant.
    epoch: Option<EpochEntry>,
    /// The newest entry that was seen.
    sequence: u64,
    hash: [u8; 32],
    /// The newest place whose exported head was met.
    confirmed: u64,
}

impl TrailCheck {
    /// Begins before the first entry of a trail; `heads` are those of this trail, `accepted` the hashes of the entries
    /// `epoch.begin` at which a break is meant.
    #[must_use]
    pub fn new(tailnet: TailnetId, heads: &[SignedHead], accepted: &BTreeSet<[u8; 32]>) -> Self {
        let mut exported = BTreeMap::<_, Vec<_>>::new();
        for head in heads {
            exported
                .entry(head.sequence)
                .or_default()
                .push(ExportedHash {
                    hash: head.hash_bytes(),
                    signed_at: head.signed_at(),
                });
        }
        Self {
            tailnet,
            exported,
            accepted: accepted.clone(),
            met: Vec::new(),
            epoch: None,
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
        if entry.action == EPOCH {
            self.begin_epoch(entry);
        }
        if let Some(exported) = self.exported.get(&self.sequence) {
            let other = exported.iter().find(|head| head.hash != Some(self.hash));
            if let Some(other) = other {
                return Err(TrailBreak::Rewritten {
                    first: self.confirmed + 1,
                    exported: self.sequence,
                    epoch: self.epoch_since(other),
                });
            }
            self.confirmed = self.sequence;
        }
        Ok(())
    }

    /// What was exported before an accepted epoch, of places from its first entry on, belongs to what the database has left.
    fn begin_epoch(&mut self, entry: &AuditEntry) {
        let epoch = EpochEntry {
            sequence: self.sequence,
            time: entry.time,
            hash: self.hash,
        };
        if !self.accepted.contains(&self.hash) {
            self.epoch = Some(epoch);
            return;
        }
        for (_, heads) in self.exported.range_mut(self.sequence..) {
            heads.retain(|head| head.signed_at.is_some_and(|time| time >= entry.time));
        }
        self.exported.retain(|_, heads| !heads.is_empty());
        self.met.push(epoch);
    }

    fn epoch_since(&self, head: &ExportedHash) -> Option<EpochEntry> {
        let epoch = self.epoch.as_ref();
        epoch
            .filter(|epoch| head.signed_at.is_some_and(|time| time < epoch.time))
            .cloned()
    }

    /// Ends behind the newest entry.
    ///
    /// # Errors
    ///
    /// When entries are missing.
    pub fn finish(self) -> Result<CheckedTrail, TrailBreak> {
        match self.exported.last_key_value() {
            Some((&exported, heads)) if exported > self.sequence => Err(TrailBreak::Cut {
                sequence: self.sequence + 1,
                exported,
                epoch: heads.first().and_then(|head| self.epoch_since(head)),
            }),
            _ => Ok(CheckedTrail {
                entries: self.sequence,
                confirmed: self.confirmed,
                accepted: self.met,
            }),
        }
    }
}
