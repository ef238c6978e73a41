//! Webhooks, and which replica sends to one.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::{identity::v1::Webhook, time::to_timestamp};
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::decode_body;

/// The columns of a webhook with what is known of its deliveries.
const COLUMNS: &str = "webhooks.body AS body, sealed_secret, sealed_old_secret, old_secret_ends_at, failures, problem, delivered_at, waiting,
    (SELECT COUNT(*) FROM webhook_events WHERE webhook_id = webhooks.id AND state = 1) AS undelivered";

/// A webhook as it is kept.
#[derive(Clone, Debug)]
pub struct WebhookRow {
    /// What administrators see.
    pub webhook: Webhook,
    /// What events are signed with, sealed.
    pub sealed_secret: Vec<u8>,
    /// The secret before.
    pub sealed_old_secret: Option<Vec<u8>>,
}

/// A webhook that has something to be sent, and may be taken.
#[derive(Clone, Copy, Debug)]
pub struct DueWebhook {
    /// Its number.
    pub id: u64,
    /// Its tailnet.
    pub tailnet_id: u64,
}

/// How many webhooks are listed as due.
#[derive(Clone, Copy, Debug)]
pub struct DueLimits<'a> {
    /// In all.
    pub most: i64,
    /// Of one tailnet.
    pub of_tailnet: i64,
    /// Tailnets of which none is.
    pub busy: &'a [u64],
}

/// A webhook that a replica has taken until a time.
#[derive(Clone, Copy, Debug)]
pub struct WebhookClaim {
    /// The webhook.
    pub id: u64,
    /// The replica's number: nobody else has it.
    pub number: i64,
    /// Until when it is the replica's.
    pub until: DateTime<Utc>,
}

fn read_row(row: &AnyRow) -> Result<WebhookRow, DatabaseError> {
    let time = |name: &str| {
        let micros: Option<i64> = row.try_get(name)?;
        Ok::<_, DatabaseError>(micros.and_then(from_micros).map(to_timestamp))
    };
    let webhook: Webhook = decode_body("webhooks", row)?;
    Ok(WebhookRow {
        webhook: Webhook {
            old_secret_ends_at: time("old_secret_ends_at")?,
            delivered_at: time("delivered_at")?,
            problem: row.try_get("problem")?,
            failures: u32::try_from(row.try_get::<i64, _>("failures")?).unwrap_or(u32::MAX),
            waiting: row.try_get::<i64, _>("waiting")?.cast_unsigned(),
            undelivered: row.try_get::<i64, _>("undelivered")?.cast_unsigned(),
            ..webhook
        },
        sealed_secret: row.try_get("sealed_secret")?,
        sealed_old_secret: row.try_get("sealed_old_secret")?,
    })
}

/// Writes a new webhook.
pub async fn insert_webhook(
    on: &mut AnyConnection,
    webhook: &Webhook,
    sealed_secret: Vec<u8>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO webhooks (id, tailnet_id, body, sealed_secret, claim, claimed_until, failures, problem, waiting)
         VALUES ($1, $2, $3, $4, 0, 0, 0, '', 0)",
    )
    .bind(webhook.id.cast_signed())
    .bind(webhook.tailnet_id.cast_signed())
    .bind(webhook.encode_to_vec())
    .bind(sealed_secret)
    .execute(on)
    .await?;
    Ok(())
}

/// Writes what an administrator has changed.
pub async fn update_webhook(
    on: &mut AnyConnection,
    webhook: &Webhook,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE webhooks SET body = $2 WHERE id = $1")
        .bind(webhook.id.cast_signed())
        .bind(webhook.encode_to_vec())
        .execute(on)
        .await?;
    Ok(())
}

/// Puts a new secret in place of the one that is there, which is kept until a time.
pub async fn rotate_secret(
    on: &mut AnyConnection,
    id: u64,
    sealed: Vec<u8>,
    old_ends: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE webhooks SET sealed_old_secret = sealed_secret, sealed_secret = $2, old_secret_ends_at = $3 WHERE id = $1",
    )
    .bind(id.cast_signed())
    .bind(sealed)
    .bind(to_micros(old_ends))
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets secrets whose time is over.
pub async fn forget_old_secrets(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE webhooks SET sealed_old_secret = NULL, old_secret_ends_at = NULL WHERE old_secret_ends_at <= $1",
    )
    .bind(to_micros(now))
    .execute(on)
    .await?;
    Ok(())
}

/// Returns a webhook of a tailnet.
pub async fn find_webhook<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    id: u64,
) -> Result<Option<WebhookRow>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1 AND tailnet_id = $2");
    let query = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(id.cast_signed())
        .bind(tailnet_id.cast_signed());
    let row = query.fetch_optional(on).await?;
    row.as_ref().map(read_row).transpose()
}

/// Returns the webhooks of a tailnet, oldest first.
pub async fn list_webhooks<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Webhook>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM webhooks WHERE tailnet_id = $1 ORDER BY id");
    let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(tailnet_id.cast_signed());
    let rows = query.fetch_all(on).await?;
    let read = |row| Ok(read_row(row)?.webhook);
    rows.iter().map(read).collect()
}

/// Locks a webhook, as everybody does before its events; says whether it is there.
pub async fn lock_webhook(on: &mut AnyConnection, id: u64) -> Result<bool, DatabaseError> {
    let locked = sqlx::query("UPDATE webhooks SET waiting = waiting WHERE id = $1")
        .bind(id.cast_signed())
        .execute(on)
        .await?;
    Ok(locked.rows_affected() == 1)
}

/// Locks what events are made under, as whoever makes them does before anything else.
async fn lock_cursors(on: &mut AnyConnection, tailnet_id: u64) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE webhook_cursors SET sequence = sequence WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Deletes a webhook, with its events; the last of a tailnet with how far events were made.
pub async fn delete_webhook(
    on: &mut AnyConnection,
    tailnet_id: u64,
    id: u64,
) -> Result<(), DatabaseError> {
    lock_cursors(on, tailnet_id).await?;
    lock_webhook(on, id).await?;
    for sql in [
        "DELETE FROM webhook_events WHERE webhook_id = $1",
        "DELETE FROM webhooks WHERE id = $1",
    ] {
        let query = sqlx::query(sql).bind(id.cast_signed());
        query.execute(&mut *on).await?;
    }
    sqlx::query(
        "DELETE FROM webhook_cursors WHERE tailnet_id = $1 AND NOT EXISTS (SELECT 1 FROM webhooks WHERE tailnet_id = $1)",
    )
    .bind(tailnet_id.cast_signed())
    .execute(on)
    .await?;
    Ok(())
}

/// Deletes what a tailnet has of webhooks.
pub async fn delete_of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    lock_cursors(on, tailnet_id).await?;
    for sql in [
        "UPDATE webhooks SET waiting = waiting WHERE tailnet_id = $1",
        "DELETE FROM webhook_events WHERE webhook_id IN (SELECT id FROM webhooks WHERE tailnet_id = $1)",
        "DELETE FROM webhooks WHERE tailnet_id = $1",
        "DELETE FROM webhook_cursors WHERE tailnet_id = $1",
    ] {
        let query = sqlx::query(sql).bind(tailnet_id.cast_signed());
        query.execute(&mut *on).await?;
    }
    Ok(())
}

/// Returns some webhooks that have something to be sent and that nobody has taken: few of one tailnet, and none of tailnets that
/// are busy, so that no tailnet fills the list.
pub async fn list_due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
    limits: DueLimits<'_>,
) -> Result<Vec<DueWebhook>, DatabaseError> {
    let busy: Vec<String> = limits.busy.iter().map(u64::to_string).collect();
    let but = match busy.is_empty() {
        true => String::new(),
        false => format!("AND tailnet_id NOT IN ({})", busy.join(", ")),
    };
    let query = format!(
        "SELECT id, tailnet_id FROM
             (SELECT id, tailnet_id, next_attempt_at,
                  ROW_NUMBER() OVER (PARTITION BY tailnet_id ORDER BY next_attempt_at) AS place
              FROM webhooks WHERE next_attempt_at <= $1 AND claimed_until <= $1 {but}) AS due
         WHERE place <= $2 ORDER BY next_attempt_at LIMIT $3"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(to_micros(now))
        .bind(limits.of_tailnet)
        .bind(limits.most);
    let rows = query.fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            Ok(DueWebhook {
                id: row.try_get::<i64, _>(0)?.cast_unsigned(),
                tailnet_id: row.try_get::<i64, _>(1)?.cast_unsigned(),
            })
        })
        .collect()
}

/// Takes a webhook, or keeps one that is the taker's; says whether it is.
pub async fn claim_webhook(
    on: &mut AnyConnection,
    claim: WebhookClaim,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let taken = sqlx::query(
        "UPDATE webhooks SET claim = $2, claimed_until = $3
         WHERE id = $1 AND next_attempt_at <= $4 AND (claimed_until <= $4 OR claim = $2)",
    )
    .bind(claim.id.cast_signed())
    .bind(claim.number)
    .bind(to_micros(claim.until))
    .bind(to_micros(now))
    .execute(on)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives a webhook back.
pub async fn release_webhook(
    on: &mut AnyConnection,
    claim: WebhookClaim,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE webhooks SET claimed_until = 0 WHERE id = $1 AND claim = $2")
        .bind(claim.id.cast_signed())
        .bind(claim.number)
        .execute(on)
        .await?;
    Ok(())
}

/// Notes that the first event that waits was delivered; says whether the webhook was still the taker's.
pub async fn note_delivery(
    on: &mut AnyConnection,
    claim: WebhookClaim,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let noted = sqlx::query(
        "UPDATE webhooks SET waiting = waiting - 1, failures = 0, problem = '', delivered_at = $3,
             next_attempt_at = CASE WHEN waiting > 1 THEN $3 ELSE NULL END
         WHERE id = $1 AND claim = $2",
    )
    .bind(claim.id.cast_signed())
    .bind(claim.number)
    .bind(to_micros(now))
    .execute(on)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Notes that an attempt failed; says whether the webhook was still the taker's.
pub async fn note_failure(
    on: &mut AnyConnection,
    claim: WebhookClaim,
    next: DateTime<Utc>,
    problem: &str,
) -> Result<bool, DatabaseError> {
    let noted = sqlx::query(
        "UPDATE webhooks SET failures = failures + 1, problem = $4, next_attempt_at = $3 WHERE id = $1 AND claim = $2",
    )
    .bind(claim.id.cast_signed())
    .bind(claim.number)
    .bind(to_micros(next))
    .bind(problem.to_owned())
    .execute(on)
    .await?;
    Ok(noted.rows_affected() == 1)
}

/// Notes that some events do not wait any more. Without any that wait there is no next attempt.
pub async fn note_given_up(
    on: &mut AnyConnection,
    id: u64,
    given_up: i64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE webhooks SET waiting = waiting - $2,
             next_attempt_at = CASE WHEN waiting > $2 THEN next_attempt_at ELSE NULL END
         WHERE id = $1",
    )
    .bind(id.cast_signed())
    .bind(given_up)
    .execute(on)
    .await?;
    Ok(())
}

/// Notes that nothing waits for a webhook that was taken: its count is set right where it says another thing.
pub async fn note_nothing_waits(
    on: &mut AnyConnection,
    claim: WebhookClaim,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE webhooks SET waiting = 0, next_attempt_at = NULL WHERE id = $1 AND claim = $2",
    )
    .bind(claim.id.cast_signed())
    .bind(claim.number)
    .execute(on)
    .await?;
    Ok(())
}
