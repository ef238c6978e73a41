//! Which heads are exported, and whose turn it is.

use bowline_db::{Database, DatabaseError, to_micros};
use chrono::{DateTime, Utc};
use sqlx::Row as _;

/// How many heads are exported together.
const PAGE: i64 = 500;

/// A head that is to be exported.
#[derive(Clone, Debug)]
pub(crate) struct UnexportedHead {
    pub(crate) tailnet_id: i64,
    pub(crate) sequence: i64,
    pub(crate) hash: Vec<u8>,
}

/// Takes the turn to export to a destination until `until`, if it is due and no other replica has taken it.
pub(crate) async fn take_turn(
    database: &Database,
    destination: &'static str,
    until: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let now = to_micros(database.now().await?);
    let next: Option<i64> =
        sqlx::query_scalar("SELECT next_at FROM audit_export_turns WHERE destination = $1")
            .bind(destination)
            .fetch_optional(database.reader())
            .await?;
    if next.is_some_and(|next| next > now) {
        return Ok(false);
    }
    database
        .write(move |write| {
            Box::pin(async move {
                let taken = sqlx::query(
                    "INSERT INTO audit_export_turns (destination, next_at) VALUES ($1, $2)
                     ON CONFLICT (destination) DO UPDATE SET next_at = excluded.next_at
                     WHERE audit_export_turns.next_at <= $3",
                )
                .bind(destination)
                .bind(to_micros(until))
                .bind(now)
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
    destination: &'static str,
    next: DateTime<Utc>,
) -> Result<(), DatabaseError> {
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
    .bind(destination)
    .bind(after)
    .bind(PAGE)
    .fetch_all(database.reader())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(UnexportedHead {
                tailnet_id: row.try_get(0)?,
                sequence: row.try_get(1)?,
                hash: row.try_get(2)?,
            })
        })
        .collect()
}

/// Notes that a destination has these heads.
pub(crate) async fn mark_exported(
    database: &Database,
    destination: &'static str,
    heads: Vec<UnexportedHead>,
) -> Result<(), DatabaseError> {
    database
        .write(move |write| {
            Box::pin(async move {
                for head in heads {
                    sqlx::query(
                        "INSERT INTO audit_exports (destination, tailnet_id, audit_hash) VALUES ($1, $2, $3)
                         ON CONFLICT (destination, tailnet_id) DO UPDATE SET audit_hash = excluded.audit_hash",
                    )
                    .bind(destination)
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
