//! The audit trail: rows whose hashes chain, so that none can be changed or taken away unseen.

pub(crate) mod listing;

use bowline_ids::TailnetId;
use bowline_proto::{
    audit::v1,
    time::{from_timestamp, to_timestamp},
};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::{
    DatabaseError, from_micros,
    statements::{insert_sql, split_rows},
    to_micros,
};

/// The hash before a tailnet's first row.
pub const ORIGIN: [u8; 32] = [0; 32];

/// One row of a tailnet's audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The place in the tailnet's trail, from 1, without holes.
    pub sequence: u64,
    /// When it happened, by database time.
    pub time: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// What was done, `noun.verb`.
    pub action: String,
    /// To what.
    pub object: String,
    /// More, as JSON.
    pub detail: String,
    /// SHA-256 over the hash before and this row.
    pub hash: [u8; 32],
}

/// What a check of a tailnet's trail found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row follows from the one before, up to the head.
    Whole {
        /// How many rows there are.
        entries: u64,
    },
    /// The row at this place is missing or was changed.
    Broken {
        /// The first wrong place.
        sequence: u64,
    },
}

impl AuditEntry {
    /// Returns the hash that the entry has to have behind one with the hash `previous`.
    #[must_use]
    pub fn hash_after(&self, previous: &[u8; 32], tailnet: TailnetId) -> [u8; 32] {
        chain_hash(previous, tailnet.into(), self)
    }
}

/// Returns the hash of a row: SHA-256 over the hash before and each field behind its length.
pub(crate) fn chain_hash(previous: &[u8; 32], tailnet: i64, entry: &AuditEntry) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    for number in [tailnet, entry.sequence.cast_signed(), to_micros(entry.time)] {
        hasher.update(number.to_be_bytes());
    }
    for text in [&entry.actor, &entry.action, &entry.object, &entry.detail] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// Returns up to `limit` rows after a place, oldest first.
pub(crate) async fn read_entries(
    connection: &mut AnyConnection,
    tailnet: i64,
    after: u64,
    limit: u32,
) -> Result<Vec<AuditEntry>, DatabaseError> {
    sqlx::query(
        "SELECT sequence, happened_at, actor, action, object, detail, hash FROM audit
         WHERE tailnet_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
    )
    .bind(tailnet)
    .bind(after.cast_signed())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| entry_from_row(tailnet, row))
    .collect()
}

impl From<AuditEntry> for v1::AuditEntry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            time: Some(to_timestamp(entry.time)),
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            detail: entry.detail,
            hash: entry.hash.to_vec(),
        }
    }
}

impl TryFrom<v1::AuditEntry> for AuditEntry {
    type Error = DatabaseError;

    fn try_from(entry: v1::AuditEntry) -> Result<Self, DatabaseError> {
        let inconsistent = || DatabaseError::Inconsistent {
            table: "audit",
            row: entry.sequence.to_string(),
        };
        let time = entry.time.and_then(from_timestamp);
        let hash = entry.hash.as_slice().try_into();
        Ok(Self {
            time: time.ok_or_else(inconsistent)?,
            hash: hash.map_err(|_| inconsistent())?,
            sequence: entry.sequence,
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            detail: entry.detail,
        })
    }
}

fn entry_from_row(tailnet: i64, row: &AnyRow) -> Result<AuditEntry, DatabaseError> {
    let sequence: i64 = row.try_get(0)?;
    let inconsistent = || DatabaseError::Inconsistent {
        table: "audit",
        row: format!("{tailnet}/{sequence}"),
    };
    Ok(AuditEntry {
        sequence: u64::try_from(sequence).map_err(|_| inconsistent())?,
        time: from_micros(row.try_get(1)?).ok_or_else(inconsistent)?,
        actor: row.try_get(2)?,
        action: row.try_get(3)?,
        object: row.try_get(4)?,
        detail: row.try_get(5)?,
        hash: row
            .try_get::<Vec<u8>, _>(6)?
            .try_into()
            .map_err(|_| inconsistent())?,
    })
}

/// The end of a tailnet's trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AuditHead {
    /// The number of rows.
    pub(crate) sequence: u64,
    /// The hash of the last, [`ORIGIN`] before the first.
    pub(crate) hash: [u8; 32],
}

/// A row that has no place in a trail yet.
#[derive(Debug)]
pub(crate) struct PendingAudit {
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) object: String,
    pub(crate) detail: String,
}

impl AuditHead {
    /// Gives a row of a tailnet the place after the last.
    pub(crate) fn append(
        &mut self,
        tailnet: i64,
        time: DateTime<Utc>,
        pending: PendingAudit,
    ) -> AuditEntry {
        let mut entry = AuditEntry {
            sequence: self.sequence + 1,
            time,
            actor: pending.actor,
            action: pending.action,
            object: pending.object,
            detail: pending.detail,
            hash: ORIGIN,
        };
        entry.hash = chain_hash(&self.hash, tailnet, &entry);
        *self = Self {
            sequence: entry.sequence,
            hash: entry.hash,
        };
        entry
    }
}

impl Default for AuditHead {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: ORIGIN,
        }
    }
}

/// Writes rows of tailnets.
pub(crate) async fn insert_entries(
    connection: &mut AnyConnection,
    entries: &[(TailnetId, AuditEntry)],
) -> Result<(), DatabaseError> {
    let table = "audit (tailnet_id, sequence, happened_at, actor, action, object, detail, hash)";
    for rows in split_rows(entries) {
        let mut query = sqlx::query(AssertSqlSafe(insert_sql(table, 8, rows.len())));
        for (tailnet, entry) in rows {
            query = query
                .bind(i64::from(*tailnet))
                .bind(entry.sequence.cast_signed());
            query = query.bind(to_micros(entry.time)).bind(entry.actor.clone());
            query = query.bind(entry.action.clone()).bind(entry.object.clone());
            query = query.bind(entry.detail.clone()).bind(entry.hash.to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// How many rows are verified at once.
const PAGE: u32 = 200;

/// Follows the chain from the first row to `head`.
pub(crate) async fn verify_chain(
    connection: &mut AnyConnection,
    tailnet: i64,
    head: AuditHead,
) -> Result<AuditVerdict, DatabaseError> {
    let (mut sequence, mut hash) = (0, ORIGIN);
    loop {
        let page = read_entries(&mut *connection, tailnet, sequence, PAGE).await?;
        if page.is_empty() {
            let whole = AuditHead { sequence, hash } == head;
            return Ok(if whole {
                AuditVerdict::Whole { entries: sequence }
            } else {
                AuditVerdict::Broken {
                    sequence: sequence + 1,
                }
            });
        }
        for entry in page {
            sequence += 1;
            hash = chain_hash(&hash, tailnet, &entry);
            if entry.sequence != sequence || entry.hash != hash {
                return Ok(AuditVerdict::Broken { sequence });
            }
        }
    }
}
