//! Soft state: current-state tables whose rows carry the tailnet's soft revision.

use std::collections::BTreeMap;

use bowline_ids::{Revision, TailnetId};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use sqlx::{AnyConnection, Row};

use super::{Head, LogState, head::Counter};
use crate::{Database, DatabaseError, WriteTransaction, audit};

/// One transaction of soft state, of several tailnets when their reports came together.
///
/// A row written for a tailnet carries the soft revision taken for it here, so that a reader finds what is newer
/// than its own. To keep two batches from blocking each other, tailnets are taken in ascending order.
#[derive(Debug)]
pub struct SoftBatch {
    database: Database,
    write: WriteTransaction,
    heads: BTreeMap<TailnetId, Head>,
}

impl SoftBatch {
    /// Returns the connection to query.
    pub fn connection(&mut self) -> &mut AnyConnection {
        self.write.connection()
    }

    /// Returns the database's time when the batch began.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.write.now()
    }

    /// Locks a tailnet's counter until the commit: what is read of the tailnet afterwards nobody else changes.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn lock_tailnet(&mut self, tailnet: TailnetId) -> Result<(), DatabaseError> {
        if !self.heads.contains_key(&tailnet) {
            Counter::lock(&self.database, self.write.connection(), tailnet).await?;
        }
        Ok(())
    }

    /// Returns the soft revision of this batch for a tailnet: the next one, taken under the counter lock at the
    /// first call for the tailnet.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn take_revision(&mut self, tailnet: TailnetId) -> Result<u64, DatabaseError> {
        if let Some(head) = self.heads.get(&tailnet) {
            return Ok(head.soft_revision);
        }
        let row = sqlx::query(
            "INSERT INTO heads (tailnet_id, revision, soft_revision, audit_sequence, audit_hash)
             SELECT $1, COALESCE(MAX(base), 0), COALESCE(MAX(base), 0) + 1, 0, $2 FROM epochs WHERE true
             ON CONFLICT (tailnet_id) DO UPDATE SET soft_revision = heads.soft_revision + 1
             RETURNING revision, soft_revision",
        )
        .bind(i64::from(tailnet))
        .bind(audit::ORIGIN.to_vec())
        .fetch_one(self.write.connection())
        .await?;
        let head = Head {
            tailnet,
            revision: Revision::new(row.try_get::<i64, _>(0)?.cast_unsigned()),
            soft_revision: row.try_get::<i64, _>(1)?.cast_unsigned(),
        };
        self.heads.insert(tailnet, head);
        Ok(head.soft_revision)
    }
}

pub(super) async fn run<T, E, F>(log: &LogState, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut SoftBatch) -> BoxFuture<'c, Result<T, E>> + Send,
    T: Send,
    E: From<DatabaseError> + Send,
{
    let write = WriteTransaction::begin(&log.database).await?;
    let mut batch = SoftBatch {
        database: log.database.clone(),
        write,
        heads: BTreeMap::new(),
    };
    let value = work(&mut batch).await?;
    batch.write.commit().await?;
    for head in batch.heads.into_values() {
        log.publish_hint(head);
    }
    Ok(value)
}
