//! Which heads are exported, and whose turn it is.

use bowline_db::{Database, DatabaseError, from_micros, to_micros};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Row as _, any::AnyRow};

/// How much later than this replica another may have taken a turn.
const SKEW: TimeDelta = TimeDelta::seconds(60);
/// How many heads are exported together.
const PAGE: i64 = 500;

/// A head that is to be exported.
#[derive(Clone, Debug)]
pub(crate) struct UnexportedHead {
    pub(crate) tailnet_id: i64,
    pub(crate) sequence: i64,
    pub(crate) hash: Vec<u8>,
}

/// Takes the turn of a name for as long as `interval`, if it is due and no other replica has taken it. A turn that is further away
/// than an interval is due, too: nobody takes one for longer, and one row must not keep heads here.
pub(crate) async fn take_turn(
    database: &Database,
    name: &str,
    now: DateTime<Utc>,
    interval: TimeDelta,
) -> Result<bool, DatabaseError> {
    let (now, until, latest) = (
        to_micros(now),
        to_micros(now + interval),
        to_micros(now + interval + SKEW),
    );
    let next: Option<i64> =
        sqlx::query_scalar("SELECT next_at FROM audit_export_turns WHERE destination = $1")
            .bind(name.to_owned())
            .fetch_optional(database.reader())
            .await?;
    if next.is_some_and(|next| next > now && next <= latest) {
        return Ok(false);
    }
    let name = name.to_owned();
    database
        .write(move |write| {
            Box::pin(async move {
                let taken = sqlx::query(
                    "INSERT INTO audit_export_turns (destination, next_at) VALUES ($1, $2)
                     ON CONFLICT (destination) DO UPDATE SET next_at = excluded.next_at
                     WHERE audit_export_turns.next_at <= $3 OR audit_export_turns.next_at = $4",
                )
                .bind(name)
                .bind(until)
                .bind(now)
                // As it was read: another replica that takes it meanwhile writes another time.
                .bind(next)
                .execute(write.connection())
                .await?;
                Ok::<_, DatabaseError>(taken.rows_affected() == 1)
            })
        })
        .await
}

/// Sets when the next turn is.
pub(crate) async fn set_turn(
    database: &Database,
    destination: &str,
    next: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let destination = destination.to_owned();
    database
        .write(move |write| {
            Box::pin(async move {
                sqlx::query("UPDATE audit_export_turns SET next_at = $2 WHERE destination = $1")
                    .bind(destination)
                    .bind(to_micros(next))
                    .execute(write.connection())
                    .await?;
                Ok::<_, DatabaseError>(())
            })
        })
        .await
}

/// Returns heads, of tailnets after one, that a destination does not have.
pub(crate) async fn list_unexported(
    database: &Database,
    destination: &str,
    after: i64,
) -> Result<Vec<UnexportedHead>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT heads.tailnet_id, heads.audit_sequence, heads.audit_hash FROM heads
         LEFT JOIN audit_exports ON audit_exports.destination = $1 AND audit_exports.tailnet_id = heads.tailnet_id
         WHERE heads.tailnet_id > $2 AND heads.audit_sequence > 0
             AND (audit_exports.audit_hash IS NULL OR audit_exports.audit_hash <> heads.audit_hash)
         ORDER BY heads.tailnet_id LIMIT $3",
    )
    .bind(destination.to_owned())
    .bind(after)
    .bind(PAGE)
    .fetch_all(database.reader())
    .await?;
    rows.iter().map(read_head).collect()
}

/// Returns heads of tailnets after one.
pub(crate) async fn list_heads(
    database: &Database,
    after: i64,
) -> Result<Vec<UnexportedHead>, DatabaseError> {
    let rows = sqlx::query(
        "SELECT tailnet_id, audit_sequence, audit_hash FROM heads WHERE tailnet_id > $1 AND audit_sequence > 0
         ORDER BY tailnet_id LIMIT $2",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_all(database.reader())
    .await?;
    rows.iter().map(read_head).collect()
}

fn read_head(row: &AnyRow) -> Result<UnexportedHead, DatabaseError> {
    Ok(UnexportedHead {
        tailnet_id: row.try_get(0)?,
        sequence: row.try_get(1)?,
        hash: row.try_get(2)?,
    })
}

/// Notes when all that was new has reached a destination, and which key has signed it.
pub(crate) async fn note_export(
    database: &Database,
    destination: &str,
    now: DateTime<Utc>,
    signer: String,
) -> Result<(), DatabaseError> {
    let destination = destination.to_owned();
    let sql = "UPDATE audit_export_turns SET exported_at = $2, signer = $3 WHERE destination = $1";
    database
        .write(move |write| {
            Box::pin(async move {
                let query = sqlx::query(sql).bind(destination).bind(to_micros(now));
                query.bind(signer).execute(write.connection()).await?;
                Ok::<_, DatabaseError>(())
            })
        })
        .await
}

/// Returns when all that was new has last reached a destination.
pub(crate) async fn find_export_time(
    database: &Database,
    destination: &str,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let sql = "SELECT exported_at FROM audit_export_turns WHERE destination = $1";
    let query = sqlx::query_scalar(sql).bind(destination.to_owned());
    let found: Option<Option<i64>> = query.fetch_optional(database.reader()).await?;
    Ok(found.flatten().and_then(from_micros))
}

/// Returns the key that signed what a destination got last.
pub(crate) async fn find_signer(
    database: &Database,
    destination: &str,
) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT signer FROM audit_export_turns WHERE destination = $1";
    let query = sqlx::query_scalar(sql).bind(destination.to_owned());
    let found: Option<Option<String>> = query.fetch_optional(database.reader()).await?;
    Ok(found.flatten())
}

/// Notes that a destination has these heads.
pub(crate) async fn mark_exported(
    database: &Database,
    destination: &str,
    heads: Vec<UnexportedHead>,
) -> Result<(), DatabaseError> {
    let destination = destination.to_owned();
    database
        .write(move |write| {
            Box::pin(async move {
                for head in heads {
                    sqlx::query(
                        "INSERT INTO audit_exports (destination, tailnet_id, audit_hash) VALUES ($1, $2, $3)
                         ON CONFLICT (destination, tailnet_id) DO UPDATE SET audit_hash = excluded.audit_hash",
                    )
                    .bind(destination.clone())
                    .bind(head.tailnet_id)
                    .bind(head.hash)
                    .execute(write.connection())
                    .await?;
                }
                Ok::<_, DatabaseError>(())
            })
        })
        .await
}
