//! The change log of one owner of hard state, and the mutations that append to it.

mod batch;
mod compact;
mod head;
mod lane;
mod mutation;
mod origin;
mod soft;

use std::sync::Arc;

use bowline_bus::{Bus, Hint, LogOwner};
use bowline_ids::{Revision, TailnetId};
use bowline_proto::audit::v1::{
    AuditHead, ListAuditHeadsResponse, ListAuditRequest, ListAuditResponse, VerifyAuditResponse,
};
use bowline_service_kit::{TraceParent, trace::export};
use futures_util::future::BoxFuture;
use sqlx::Row;
use tokio::sync::oneshot;

use crate::{
    AuditEntry, AuditVerdict, Database, DatabaseError, ReadTransaction, audit,
    epochs::may_have_been_given,
};
pub use head::Head;
use lane::{Lanes, QueuedMutation};
pub use mutation::Mutation;
pub use soft::SoftBatch;

/// What follows a revision in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The entries, oldest first, without holes; fewer than the limit when they reach the head.
    Entries(Vec<(Revision, Vec<u8>)>),
    /// The log can not tell: entries are compacted away, or the database has gone back to a state before the revision. The
    /// reader takes a snapshot.
    Compacted,
}

/// The change log of one owner, for all its tailnets. Clones share the queues.
#[derive(Clone, Debug)]
pub struct ChangeLog(Arc<LogState>);

#[derive(Debug)]
struct LogState {
    database: Database,
    bus: Bus,
    owner: LogOwner,
    lanes: Lanes,
}

impl ChangeLog {
    /// Returns the log that `owner` keeps in its database; hints go out on `bus`.
    #[must_use]
    pub fn new(database: Database, bus: Bus, owner: LogOwner) -> Self {
        Self(Arc::new(LogState {
            database,
            bus,
            owner,
            lanes: Lanes::default(),
        }))
    }

    /// Returns the database that holds the log.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// Changes a tailnet: runs `work` under the tailnet's counter lock, and answers after the commit.
    ///
    /// Mutations that wait share one transaction, each in its own savepoint: `Err` undoes this one alone, with its
    /// entries and audit rows. To refuse something and still audit it, `work` returns `Ok` of the refusal.
    /// The revision is that after this mutation's entries. `work` awaits nothing but the database: others wait for
    /// it. Once queued it runs, also when the caller is dropped.
    ///
    /// # Errors
    ///
    /// What `work` returns. [`DatabaseError::Unavailable`] when too many wait, or when the commit's fate is
    /// unknown: then a retry must be able to find its own effects.
    pub async fn mutate<T, E, F>(
        &self,
        tailnet: TailnetId,
        actor: impl Into<String>,
        work: F,
    ) -> Result<(T, Revision), E>
    where
        F: for<'c> FnOnce(&'c mut Mutation) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let request = QueuedMutation::new(tailnet, actor.into(), work, sender);
        lane::enqueue_job(&self.0, Box::new(request))?;
        receiver.await.unwrap_or_else(|_| {
            Err(DatabaseError::unavailable("a mutation of the same commit ended abruptly").into())
        })
    }

    /// Returns how many mutations wait to be run in a tailnet's lane.
    #[must_use]
    pub fn count_waiting(&self, tailnet: TailnetId) -> usize {
        lane::count_waiting(&self.0, tailnet)
    }

    /// Commits soft state of tailnets: see [`SoftBatch`]. Hints go out after the commit.
    ///
    /// # Errors
    ///
    /// What `work` returns, or the database's error.
    pub async fn commit_soft_state<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut SoftBatch) -> BoxFuture<'c, Result<T, E>> + Send,
        T: Send,
        E: From<DatabaseError> + Send,
    {
        soft::run(&self.0, work).await
    }

    /// Returns the head of each tailnet asked for, in the same order; all zero for one without entries.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn heads(&self, tailnets: &[TailnetId]) -> Result<Vec<Head>, DatabaseError> {
        head::read_heads(self.0.database.reader(), tailnets).await
    }

    /// Returns a tailnet's head as a transaction sees it: the revision of a snapshot read in that transaction.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn head_in(
        &self,
        read: &mut ReadTransaction,
        tailnet: TailnetId,
    ) -> Result<Head, DatabaseError> {
        Ok(head::Counter::read(&mut *read, tailnet)
            .await?
            .head(tailnet))
    }

    /// Returns up to `limit` entries after `revision`.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub fn changes_since(
        &self,
        tailnet: TailnetId,
        revision: Revision,
        limit: u32,
    ) -> BoxFuture<'_, Result<Changes, DatabaseError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            if i64::try_from(revision.get()).is_err() {
                return Ok(Changes::Compacted);
            }
            // One statement, so that head and entries are of one state.
            let rows = sqlx::query(
                "SELECT heads.revision, change_log.revision, change_log.entry
                 FROM heads LEFT JOIN change_log
                   ON change_log.tailnet_id = heads.tailnet_id AND change_log.revision > $2
                 WHERE heads.tailnet_id = $1 ORDER BY change_log.revision LIMIT $3",
            )
            .bind(i64::from(tailnet))
            .bind(revision.get().cast_signed())
            .bind(i64::from(limit.max(1)))
            .fetch_all(self.0.database.reader())
            .await?;
            let head = rows
                .first()
                .map_or(Ok(0), |row| row.try_get::<i64, _>(0))?
                .cast_unsigned();
            let mut entries = Vec::with_capacity(rows.len());
            let mut expected = revision;
            for row in &rows {
                let Some(found) = row.try_get::<Option<i64>, _>(1)? else {
                    break;
                };
                expected = expected.next();
                if found.cast_unsigned() != expected.get() {
                    return Ok(Changes::Compacted);
                }
                entries.push((expected, row.try_get(2)?));
            }
            if head < revision.get() {
                self.note_follower_ahead(revision.get()).await?;
                return Ok(Changes::Compacted);
            }
            let complete = !entries.is_empty() || head == revision.get();
            Ok(if complete {
                Changes::Entries(entries)
            } else {
                Changes::Compacted
            })
        })
    }

    /// Returns the span that committed a tailnet's newest entry, if it was recorded. Asks nobody unless traces are exported.
    pub async fn origin_of_newest(&self, tailnet: TailnetId) -> Option<TraceParent> {
        match export::is_on() {
            true => origin::find_newest(&self.0.database, tailnet).await,
            false => None,
        }
    }

    /// Begins an epoch because a follower has a number that is not given here: it has what is lost. Nobody waits for that; the
    /// follower takes a snapshot, and another once the epoch has begun.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn note_follower_ahead(&self, number: u64) -> Result<(), DatabaseError> {
        if may_have_been_given(number, self.0.database.now().await?) {
            tracing::warn!(owner = ?self.0.owner, number, "a follower has what is not here");
            self.0.database.begin_epoch_for_follower();
        } else {
            tracing::warn!(owner = ?self.0.owner, number, "a follower asks from a number that nobody was given");
        }
        Ok(())
    }

    /// Forgets entries that are neither among a tailnet's newest `keep_entries` nor younger than `keep_age`.
    ///
    /// Returns how many were forgotten. Meant to be called now and then by any replica.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub fn compact_entries(
        &self,
        keep_entries: u32,
        keep_age: std::time::Duration,
    ) -> BoxFuture<'_, Result<u64, DatabaseError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move { compact::run(&self.0.database, keep_entries, keep_age).await })
    }

    /// Returns up to `limit` rows of a tailnet's audit trail after a place, oldest first.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn audit_entries(
        &self,
        tailnet: TailnetId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, DatabaseError> {
        let mut connection = self.0.database.reader().acquire().await?;
        audit::read_entries(&mut connection, tailnet.into(), after, limit).await
    }

    /// Answers which rows of a tailnet's audit trail a caller asks for.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn list_audit(
        &self,
        tailnet: TailnetId,
        request: &ListAuditRequest,
    ) -> Result<ListAuditResponse, DatabaseError> {
        let mut read = self.0.database.begin_read().await?;
        let head = head::Counter::read(&mut read, tailnet).await?.audit;
        audit::listing::list_entries(&mut read, tailnet.into(), head.sequence, request).await
    }

    /// Answers how long the audit trails of tailnets are.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn list_audit_heads(
        &self,
        tailnets: &[TailnetId],
    ) -> Result<ListAuditHeadsResponse, DatabaseError> {
        let heads = head::read_audit_lengths(self.0.database.reader(), tailnets).await?;
        let to_message = |(tailnet_id, sequence)| AuditHead {
            tailnet_id,
            sequence,
        };
        Ok(ListAuditHeadsResponse {
            heads: heads.into_iter().map(to_message).collect(),
        })
    }

    /// Checks a tailnet's audit trail from its first row to its head.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn verify_audit(&self, tailnet: TailnetId) -> Result<AuditVerdict, DatabaseError> {
        Ok(self.check_audit(tailnet).await?.0)
    }

    /// Answers what a check of a tailnet's audit trail finds.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn answer_verify_audit(
        &self,
        tailnet: TailnetId,
    ) -> Result<VerifyAuditResponse, DatabaseError> {
        let (verdict, head) = self.check_audit(tailnet).await?;
        let broken_sequence = match verdict {
            AuditVerdict::Whole { .. } => 0,
            AuditVerdict::Broken { sequence } => sequence,
        };
        Ok(VerifyAuditResponse {
            entries: head.sequence,
            broken_sequence,
            head_hash: head.hash.to_vec(),
        })
    }

    async fn check_audit(
        &self,
        tailnet: TailnetId,
    ) -> Result<(AuditVerdict, audit::AuditHead), DatabaseError> {
        let mut read = self.0.database.begin_read().await?;
        let counter = head::Counter::read(&mut read, tailnet).await?;
        let head = counter.audit;
        let verdict = audit::verify_chain(&mut read, tailnet.into(), head).await?;
        Ok((verdict, head))
    }
}

impl LogState {
    fn publish_hint(&self, head: Head) {
        let Head {
            tailnet,
            revision,
            soft_revision,
        } = head;
        self.bus.publish(
            self.owner,
            Hint {
                tailnet,
                revision,
                soft_revision,
            },
        );
    }
}
