//! The counter row of a tailnet: its lock, and how far its log has come.

use bowline_ids::{Revision, TailnetId};
use chrono::{DateTime, Utc};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Row};

use crate::{
    Database, DatabaseError,
    audit::{self, AuditHead},
};

/// How many tailnets one query asks for.
const CHUNK: usize = 500;

/// How far a tailnet's log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The tailnet.
    pub tailnet: TailnetId,
    /// The number of hard-state entries.
    pub revision: Revision,
    /// The number of soft-state batches.
    pub soft_revision: u64,
}

/// The counter row.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    pub(super) revision: Revision,
    pub(super) soft_revision: u64,
    pub(super) audit: AuditHead,
}

/// A counter row that is locked, and the time since when.
pub(super) struct LockedCounter {
    pub(super) counter: Counter,
    pub(super) now: DateTime<Utc>,
}

impl Counter {
    /// Locks the row until the transaction ends, making it when missing.
    pub(super) async fn lock(
        database: &Database,
        connection: &mut AnyConnection,
        tailnet: TailnetId,
    ) -> Result<LockedCounter, DatabaseError> {
        // What is returned is computed once the row is locked, the time too: so the times of commits are in their order.
        let sql = format!(
            "INSERT INTO heads (tailnet_id, revision, soft_revision, audit_sequence, audit_hash)
             SELECT $1, COALESCE(MAX(base), 0), COALESCE(MAX(base), 0), 0, $2 FROM epochs WHERE true
             ON CONFLICT (tailnet_id) DO UPDATE SET tailnet_id = excluded.tailnet_id
             RETURNING revision, soft_revision, audit_sequence, audit_hash, {}",
            database.time_sql()
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::from(tailnet))
            .bind(audit::ORIGIN.to_vec())
            .fetch_one(connection)
            .await?;
        Ok(LockedCounter {
            counter: Self::from_row(tailnet, &row)?,
            now: database.read_time(row.try_get(4)?)?,
        })
    }

    /// Reads the row without a lock; zeros when missing.
    pub(super) async fn read(
        connection: &mut AnyConnection,
        tailnet: TailnetId,
    ) -> Result<Self, DatabaseError> {
        let row = sqlx::query(
            "SELECT revision, soft_revision, audit_sequence, audit_hash FROM heads WHERE tailnet_id = $1",
        )
        .bind(i64::from(tailnet))
        .fetch_optional(connection)
        .await?;
        row.map_or_else(|| Ok(Self::default()), |row| Self::from_row(tailnet, &row))
    }

    /// Writes what mutations move; the soft revision has its own writer.
    pub(super) async fn store(
        &self,
        connection: &mut AnyConnection,
        tailnet: TailnetId,
    ) -> Result<(), DatabaseError> {
        sqlx::query(
            "UPDATE heads SET revision = $2, audit_sequence = $3, audit_hash = $4 WHERE tailnet_id = $1",
        )
        .bind(i64::from(tailnet))
        .bind(self.revision.get().cast_signed())
        .bind(self.audit.sequence.cast_signed())
        .bind(self.audit.hash.to_vec())
        .execute(connection)
        .await?;
        Ok(())
    }

    pub(super) fn head(&self, tailnet: TailnetId) -> Head {
        Head {
            tailnet,
            revision: self.revision,
            soft_revision: self.soft_revision,
        }
    }

    fn from_row(tailnet: TailnetId, row: &AnyRow) -> Result<Self, DatabaseError> {
        let inconsistent = |_| DatabaseError::Inconsistent {
            table: "heads",
            row: tailnet.to_string(),
        };
        Ok(Self {
            revision: Revision::new(row.try_get::<i64, _>(0)?.cast_unsigned()),
            soft_revision: row.try_get::<i64, _>(1)?.cast_unsigned(),
            audit: AuditHead {
                sequence: row.try_get::<i64, _>(2)?.cast_unsigned(),
                hash: row
                    .try_get::<Vec<u8>, _>(3)?
                    .try_into()
                    .map_err(inconsistent)?,
            },
        })
    }
}

/// Reads the heads of many tailnets, in the order asked for.
pub(super) async fn read_heads(
    pool: &AnyPool,
    tailnets: &[TailnetId],
) -> Result<Vec<Head>, DatabaseError> {
    let mut heads = Vec::with_capacity(tailnets.len());
    for chunk in tailnets.chunks(CHUNK) {
        let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT tailnet_id, revision, soft_revision FROM heads WHERE tailnet_id IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for tailnet in chunk {
            query = query.bind(i64::from(*tailnet));
        }
        let mut found = std::collections::BTreeMap::new();
        for row in query.fetch_all(pool).await? {
            let revision = Revision::new(row.try_get::<i64, _>(1)?.cast_unsigned());
            found.insert(
                row.try_get::<i64, _>(0)?,
                (revision, row.try_get::<i64, _>(2)?.cast_unsigned()),
            );
        }
        heads.extend(chunk.iter().map(|&tailnet| {
            let (revision, soft_revision) = found
                .get(&i64::from(tailnet))
                .copied()
                .unwrap_or((Revision::ZERO, 0));
            Head {
                tailnet,
                revision,
                soft_revision,
            }
        }));
    }
    Ok(heads)
}

/// Reads how many audit rows tailnets have: those that have any.
pub(super) async fn read_audit_lengths(
    pool: &AnyPool,
    tailnets: &[TailnetId],
) -> Result<Vec<(u64, u64)>, DatabaseError> {
    let mut lengths = Vec::with_capacity(tailnets.len());
    for chunk in tailnets.chunks(CHUNK) {
        let places: Vec<String> = (1..=chunk.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT tailnet_id, audit_sequence FROM heads WHERE tailnet_id IN ({})",
            places.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for tailnet in chunk {
            query = query.bind(i64::from(*tailnet));
        }
        for row in query.fetch_all(pool).await? {
            let (tailnet, length) = (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?);
            lengths.push((tailnet.cast_unsigned(), length.cast_unsigned()));
        }
    }
    Ok(lengths)
}
