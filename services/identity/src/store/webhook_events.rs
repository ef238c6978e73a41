//! Events for webhooks.

use bowline_db::{AuditEntry, DatabaseError, from_micros, next_id, to_micros};
use bowline_proto::{identity::v1::UndeliveredEvent, time::to_timestamp};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

use crate::domain::webhook::WebhookEvent;

/// The most events that wait for a webhook: what comes then could not be delivered.
pub const MOST_WAITING: i64 = 10_000;
/// The most events that could not be delivered and are kept for a webhook: the oldest are forgotten.
const MOST_UNDELIVERED: i64 = 10_000;

/// An event that waits.
#[derive(Clone, Debug)]
pub struct QueuedEvent {
    /// Its place among those of its webhook.
    pub position: i64,
    /// Its id.
    pub id: String,
    /// As it is sent, in JSON.
    pub body: String,
}

/// A place in a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailPlace {
    /// The number of entries up to it.
    pub sequence: u64,
    /// The hash of the last of them, where it is known.
    pub hash: Option<[u8; 32]>,
}

impl TrailPlace {
    /// Returns the place behind an entry.
    pub fn of(entry: &AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            hash: Some(entry.hash),
        }
    }

    /// Says whether the entry there is the one that it was.
    pub fn is_met_by(&self, entry: Option<&AuditEntry>) -> bool {
        let found = entry.filter(|entry| entry.sequence == self.sequence);
        match (self.hash, found) {
            (Some(hash), found) => found.is_some_and(|entry| entry.hash == hash),
            (None, found) => self.sequence == 0 || found.is_some(),
        }
    }
}

/// Lets an event wait for a webhook. Where too many wait already it counts as one that could not be delivered, and it is said that
/// it does not wait.
pub async fn queue_event(
    on: &mut AnyConnection,
    webhook_id: u64,
    event: &WebhookEvent,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let queued = sqlx::query(
        "UPDATE webhooks SET waiting = waiting + 1, next_attempt_at = COALESCE(next_attempt_at, $2)
         WHERE id = $1 AND waiting < $3",
    )
    .bind(webhook_id.cast_signed())
    .bind(to_micros(now))
    .bind(MOST_WAITING)
    .execute(&mut *on)
    .await?;
    let waits = queued.rows_affected() == 1;
    let problem = match waits {
        true => "",
        false => "10,000 events waited already",
    };
    let position = next_id(&mut *on).await?;
    sqlx::query(
        "INSERT INTO webhook_events
             (webhook_id, state, position, event_id, kind, body, happened_at, queued_at, attempts, problem, given_up_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)",
    )
    .bind(webhook_id.cast_signed())
    .bind(i64::from(!waits))
    .bind(position)
    .bind(event.id.clone())
    .bind(event.kind)
    .bind(event.body.to_string())
    .bind(to_micros(event.happened_at))
    .bind(to_micros(now))
    .bind(problem)
    .bind((!waits).then(|| to_micros(now)))
    .execute(&mut *on)
    .await?;
    Ok(waits)
}

/// Returns the first event that waits for a webhook.
pub async fn find_first<'e>(
    on: impl Executor<'e, Database = Any>,
    webhook_id: u64,
) -> Result<Option<QueuedEvent>, DatabaseError> {
    let row = sqlx::query(
        "SELECT position, event_id, body FROM webhook_events WHERE webhook_id = $1 AND state = 0 ORDER BY position LIMIT 1",
    )
    .bind(webhook_id.cast_signed())
    .fetch_optional(on)
    .await?;
    row.map(|row| {
        Ok(QueuedEvent {
            position: row.try_get(0)?,
            id: row.try_get(1)?,
            body: row.try_get(2)?,
        })
    })
    .transpose()
}

/// Deletes an event that was delivered.
pub async fn delete_event(
    on: &mut AnyConnection,
    webhook_id: u64,
    position: i64,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM webhook_events WHERE webhook_id = $1 AND state = 0 AND position = $2")
        .bind(webhook_id.cast_signed())
        .bind(position)
        .execute(on)
        .await?;
    Ok(())
}

/// Counts an attempt that failed.
pub async fn count_attempt(
    on: &mut AnyConnection,
    webhook_id: u64,
    position: i64,
    problem: &str,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE webhook_events SET attempts = attempts + 1, problem = $3 WHERE webhook_id = $1 AND state = 0 AND position = $2",
    )
    .bind(webhook_id.cast_signed())
    .bind(position)
    .bind(problem.to_owned())
    .execute(on)
    .await?;
    Ok(())
}

/// Gives up events that have waited since before a time, because the webhook takes none; returns how many.
pub async fn give_up_events(
    on: &mut AnyConnection,
    webhook_id: u64,
    queued_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let given_up = sqlx::query(
        "UPDATE webhook_events SET state = 1, given_up_at = $3,
             problem = CASE WHEN attempts = 0 THEN 'an event before it could not be delivered' ELSE problem END
         WHERE webhook_id = $1 AND state = 0 AND queued_at < $2",
    )
    .bind(webhook_id.cast_signed())
    .bind(to_micros(queued_before))
    .bind(to_micros(now))
    .execute(&mut *on)
    .await?;
    let given_up = given_up.rows_affected().cast_signed();
    if given_up > 0 {
        forget_oldest(on, webhook_id).await?;
    }
    Ok(given_up)
}

/// Forgets the oldest of too many events that could not be delivered.
pub async fn forget_oldest(on: &mut AnyConnection, webhook_id: u64) -> Result<(), DatabaseError> {
    sqlx::query(
        "DELETE FROM webhook_events WHERE webhook_id = $1 AND state = 1 AND position <=
             (SELECT position FROM webhook_events WHERE webhook_id = $1 AND state = 1 ORDER BY position DESC LIMIT 1 OFFSET $2)",
    )
    .bind(webhook_id.cast_signed())
    .bind(MOST_UNDELIVERED)
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets events that could not be delivered since before a time.
pub async fn forget_undelivered(
    on: &mut AnyConnection,
    given_up_before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM webhook_events WHERE state = 1 AND given_up_at < $1")
        .bind(to_micros(given_up_before))
        .execute(on)
        .await?;
    Ok(())
}

/// Returns some events that could not be delivered, oldest first.
pub async fn list_undelivered<'e>(
    on: impl Executor<'e, Database = Any>,
    webhook_id: u64,
    most: i64,
) -> Result<Vec<UndeliveredEvent>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT event_id, kind, happened_at, attempts, problem, given_up_at, body FROM webhook_events
         WHERE webhook_id = $1 AND state = 1 ORDER BY position LIMIT $2",
    )
    .bind(webhook_id.cast_signed())
    .bind(most)
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            let given_up: Option<i64> = row.try_get(5)?;
            Ok(UndeliveredEvent {
                id: row.try_get(0)?,
                r#type: row.try_get(1)?,
                happened_at: from_micros(row.try_get(2)?).map(to_timestamp),
                attempts: u32::try_from(row.try_get::<i64, _>(3)?).unwrap_or(u32::MAX),
                problem: row.try_get(4)?,
                given_up_at: given_up.and_then(from_micros).map(to_timestamp),
                body: row.try_get(6)?,
            })
        })
        .collect()
}

/// Lets events that could not be delivered wait again, behind the others and in their order: one, or the oldest. Returns how
/// many. The webhook is locked.
pub async fn requeue_events(
    on: &mut AnyConnection,
    webhook_id: u64,
    event_id: &str,
    most: i64,
    now: DateTime<Utc>,
) -> Result<u64, DatabaseError> {
    let positions: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM webhook_events WHERE webhook_id = $1 AND state = 1 AND ($2 = '' OR event_id = $2)
         ORDER BY position LIMIT $3",
    )
    .bind(webhook_id.cast_signed())
    .bind(event_id.to_owned())
    .bind(most)
    .fetch_all(&mut *on)
    .await?;
    let mut moved = 0;
    for position in &positions {
        let behind = next_id(&mut *on).await?;
        let requeued = sqlx::query(
            "UPDATE webhook_events SET state = 0, position = $3, queued_at = $4, attempts = 0, problem = '', given_up_at = NULL
             WHERE webhook_id = $1 AND state = 1 AND position = $2",
        )
        .bind(webhook_id.cast_signed())
        .bind(*position)
        .bind(behind)
        .bind(to_micros(now))
        .execute(&mut *on)
        .await?;
        moved += requeued.rows_affected().cast_signed();
    }
    if moved > 0 {
        // Whoever asks for it has mended the receiver, perhaps.
        sqlx::query(
            "UPDATE webhooks SET waiting = waiting + $2, next_attempt_at = $3 WHERE id = $1",
        )
        .bind(webhook_id.cast_signed())
        .bind(moved)
        .bind(to_micros(now))
        .execute(on)
        .await?;
    }
    Ok(moved.cast_unsigned())
}
