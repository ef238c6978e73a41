//! One commit for the mutations that wait.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bowline_ids::{Revision, TailnetId};
use bowline_service_kit::TraceParent;
use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::time::{Instant, timeout};

use super::head::Counter;
use super::lane::Job;
use super::mutation::Mutation;
use super::{Head, LogState, origin};
use crate::{
    AuditEntry, Database, DatabaseError, audit,
    statements::{insert_sql, split_rows},
    to_micros,
};

/// How long a batch takes on more jobs: behind a slow database, callers wait for few others.
const INTAKE_TIME: Duration = Duration::from_secs(1);

/// How long a batch may take in all: a server that vanished closes nothing, and statement timeouts end there.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the jobs, commits once, publishes hints, and answers. Returns the jobs it had no time for.
pub(super) async fn run(log: &LogState, mut jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let result = timeout(BATCH_TIMEOUT, commit_jobs(log, &mut jobs)).await;
    match result.unwrap_or_else(|_| Err(DatabaseError::unavailable("no answer in time"))) {
        Ok(committed) => {
            for head in committed.changed {
                log.publish_hint(head);
            }
            let rest = jobs.split_off(committed.revisions.len());
            for (job, revision) in jobs.into_iter().zip(committed.revisions) {
                job.answer_caller(Ok(revision));
            }
            rest
        }
        Err(error) => {
            tracing::warn!(mutations = jobs.len(), %error, "mutations not committed");
            let error = match error {
                DatabaseError::Unavailable { .. } => error,
                // Nothing a job did: whoever waits is not at fault.
                other => DatabaseError::unavailable(other.to_string()),
            };
            for job in jobs {
                job.answer_caller(Err(error.clone()));
            }
            Vec::new()
        }
    }
}

const SAVEPOINT: &str = "SAVEPOINT mutation";
/// Keeps what was done since the savepoint, and sets the next.
const NEXT_SAVEPOINT: &str = "RELEASE SAVEPOINT mutation; SAVEPOINT mutation";
/// Undoes what was done since the savepoint, which stays.
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT mutation";

struct CommittedBatch {
    /// The revision after each job that ran.
    revisions: Vec<Revision>,
    /// The heads to hint.
    changed: Vec<Head>,
}

async fn commit_jobs(
    log: &LogState,
    jobs: &mut [Box<dyn Job>],
) -> Result<CommittedBatch, DatabaseError> {
    let Some(tailnet) = jobs.first().map(|job| job.tailnet()) else {
        return Ok(CommittedBatch {
            revisions: Vec::new(),
            changed: Vec::new(),
        });
    };
    let mut transaction = log.database.begin_write().await?;
    let locked = Counter::lock(&log.database, &mut transaction, tailnet).await?;
    let mut appends = Appends::default();
    appends.counters.insert(tailnet, locked.counter);
    let mut mutation = Mutation {
        now: locked.now,
        transaction,
        tailnet,
        revision: Revision::ZERO,
        actor: String::new(),
        source: None,
        entries: Vec::new(),
        audits: Vec::new(),
    };
    let mut revisions = Vec::with_capacity(jobs.len());
    let mut any_succeeded = false;
    let begin = Instant::now();
    execute_statement(mutation.connection(), SAVEPOINT).await?;
    for job in jobs {
        if !revisions.is_empty() && begin.elapsed() > INTAKE_TIME {
            break;
        }
        mutation.tailnet = job.tailnet();
        job.actor().clone_into(&mut mutation.actor);
        mutation.source = job.source();
        mutation.revision = appends
            .lock_counter(&log.database, &mut mutation.transaction, job.tailnet())
            .await?;
        any_succeeded |= run_in_savepoint(&mut mutation, job.as_mut()).await?;
        revisions.push(appends.place_entries(&mut mutation, job.trace()));
    }
    if any_succeeded {
        appends
            .write_rows(&mut mutation.transaction, to_micros(mutation.now))
            .await?;
        mutation.transaction.commit().await?;
    } else {
        mutation.transaction.rollback().await?;
    }
    Ok(CommittedBatch {
        revisions,
        changed: appends.changed_heads(),
    })
}

/// Runs one job in the savepoint that is open; a failure leaves nothing of it. A savepoint is open again afterwards, for the next
/// job; the last is gone with the commit.
async fn run_in_savepoint(
    mutation: &mut Mutation,
    job: &mut dyn Job,
) -> Result<bool, DatabaseError> {
    if job.run(mutation).await {
        match execute_statement(mutation.connection(), NEXT_SAVEPOINT).await {
            Ok(()) => return Ok(true),
            // PostgreSQL: the job passed over an error of a statement.
            Err(error) => job.replace_result(error),
        }
    }
    mutation.entries.clear();
    mutation.audits.clear();
    execute_statement(mutation.connection(), ROLLBACK).await?;
    Ok(false)
}

async fn execute_statement(
    connection: &mut AnyConnection,
    sql: &'static str,
) -> Result<(), DatabaseError> {
    sqlx::raw_sql(sql).execute(connection).await?;
    Ok(())
}

/// What the batch appends to the logs, and the counters it moves.
#[derive(Default)]
struct Appends {
    counters: BTreeMap<TailnetId, Counter>,
    entries: Vec<(TailnetId, Revision, Vec<u8>)>,
    audits: Vec<(TailnetId, AuditEntry)>,
}

impl Appends {
    /// Locks a tailnet's counter, unless it is; returns the revision so far.
    async fn lock_counter(
        &mut self,
        database: &Database,
        connection: &mut AnyConnection,
        tailnet: TailnetId,
    ) -> Result<Revision, DatabaseError> {
        let counter = match self.counters.entry(tailnet) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => {
                let locked = Counter::lock(database, connection, tailnet).await?;
                place.insert(locked.counter)
            }
        };
        Ok(counter.revision)
    }

    /// Gives a job's entries and audit rows their places; returns the revision after them.
    fn place_entries(&mut self, mutation: &mut Mutation, trace: Option<TraceParent>) -> Revision {
        let tailnet = mutation.tailnet;
        let counter = self.counters.entry(tailnet).or_default();
        for mut entry in mutation.entries.drain(..) {
            if let Some(trace) = trace {
                origin::add_trace(&mut entry, trace);
            }
            counter.revision = counter.revision.next();
            self.entries.push((tailnet, counter.revision, entry));
        }
        for pending in mutation.audits.drain(..) {
            let entry = counter.audit.append(tailnet.into(), mutation.now, pending);
            self.audits.push((tailnet, entry));
        }
        counter.revision
    }

    async fn write_rows(
        &self,
        connection: &mut AnyConnection,
        now: i64,
    ) -> Result<(), DatabaseError> {
        for rows in split_rows(&self.entries) {
            let sql = insert_sql(
                "change_log (tailnet_id, revision, committed_at, entry)",
                4,
                rows.len(),
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (tailnet, revision, entry) in rows {
                query = query
                    .bind(i64::from(*tailnet))
                    .bind(revision.get().cast_signed());
                query = query.bind(now).bind(entry.clone());
            }
            query.execute(&mut *connection).await?;
        }
        audit::insert_entries(connection, &self.audits).await?;
        for (tailnet, counter) in &self.counters {
            counter.store(connection, *tailnet).await?;
        }
        Ok(())
    }

    /// Returns the heads of the tailnets that got entries.
    fn changed_heads(&self) -> Vec<Head> {
        let tailnets: BTreeSet<TailnetId> = self.entries.iter().map(|entry| entry.0).collect();
        tailnets
            .iter()
            .filter_map(|id| Some(self.counters.get(id)?.head(*id)))
            .collect()
    }
}
