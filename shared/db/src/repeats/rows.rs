//! The rows of kept answers.

use bowline_ids::TailnetId;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AnyConnection, Row};

use crate::{Database, DatabaseError, to_micros};

/// How long an answer is kept, at least.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// How many a tailnet has at most.
const MOST_OF_TAILNET: i64 = 100_000;
/// How many are forgotten in one transaction.
const MOST_FORGOTTEN: i64 = 1000;

/// A row that was read.
pub(super) struct KeptRow {
    pub(super) request_hash: Vec<u8>,
    pub(super) answer: Vec<u8>,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The row is made.
    Made,
    /// There is one.
    Exists,
    /// The tailnet has too many.
    Full,
}

/// Returns the row of a call that was made.
pub(super) async fn find(
    database: &Database,
    id: &[u8; 32],
) -> Result<Option<KeptRow>, DatabaseError> {
    let row = sqlx::query("SELECT request_hash, answer FROM kept_answers WHERE id = $1")
        .bind(id.to_vec())
        .fetch_optional(database.reader())
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(KeptRow {
        request_hash: row.try_get(0)?,
        answer: row.try_get(1)?,
    }))
}

/// Makes the row of a call without its answer; waits for another transaction that makes the same one. Rows go oldest first, so
/// that the first and the last number tell how many there are.
pub(super) async fn claim(
    connection: &mut AnyConnection,
    tailnet: TailnetId,
    now: DateTime<Utc>,
    id: &[u8; 32],
    request_hash: &[u8; 32],
) -> Result<Claim, DatabaseError> {
    let made = sqlx::query(
        "INSERT INTO kept_answers (id, tailnet_id, number, kept_at, request_hash, answer)
         SELECT $1, $2, last + 1, $3, $4, $5 FROM
             (SELECT COALESCE((SELECT MAX(number) FROM kept_answers WHERE tailnet_id = $2), 0) AS last,
                     COALESCE((SELECT MIN(number) FROM kept_answers WHERE tailnet_id = $2), 1) AS first) AS numbers
         WHERE last - first + 1 < $6
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id.to_vec())
    .bind(i64::from(tailnet))
    .bind(to_micros(now))
    .bind(request_hash.to_vec())
    .bind(Vec::<u8>::new())
    .bind(MOST_OF_TAILNET)
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() > 0 {
        return Ok(Claim::Made);
    }
    let found = sqlx::query("SELECT 1 FROM kept_answers WHERE id = $1")
        .bind(id.to_vec())
        .fetch_optional(connection)
        .await?;
    Ok(found.map_or(Claim::Full, |_| Claim::Exists))
}

/// Puts the answer into a row that was claimed in the same transaction.
pub(super) async fn fill(
    connection: &mut AnyConnection,
    id: &[u8; 32],
    answer: Vec<u8>,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE kept_answers SET answer = $2 WHERE id = $1")
        .bind(id.to_vec())
        .bind(answer)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets answers that are old enough, some at a time; returns how many.
pub(super) async fn forget_old(database: &Database) -> Result<u64, DatabaseError> {
    let mut forgotten = 0;
    loop {
        let gone = database.write(|write| {
            Box::pin(async move {
                let before = to_micros(write.now() - KEPT);
                let result = sqlx::query(
                    "DELETE FROM kept_answers WHERE id IN
                         (SELECT id FROM kept_answers WHERE kept_at < $1 ORDER BY kept_at, number LIMIT $2)",
                )
                .bind(before)
                .bind(MOST_FORGOTTEN)
                .execute(write.connection())
                .await?;
                Ok::<_, DatabaseError>(result.rows_affected())
            })
        });
        match gone.await? {
            0 => return Ok(forgotten),
            some => forgotten += some,
        }
    }
}
