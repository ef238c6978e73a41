//! How often who makes nodes may make more.

use bowline_db::{DatabaseError, StatementGroup, from_micros, to_micros};
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

/// Returns when a maker of nodes is rested; `None`: it is.
pub async fn rested_at(
    on: &mut AnyConnection,
    tailnet_id: u64,
    maker: &str,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let sql = "SELECT rested_at FROM paces WHERE tailnet_id = $1 AND maker = $2";
    let query = sqlx::query_scalar(sql).bind(tailnet_id.cast_signed());
    let micros: Option<i64> = query.bind(maker.to_owned()).fetch_optional(on).await?;
    Ok(micros.and_then(from_micros))
}

/// Notes when a maker is rested, and forgets those who are.
pub async fn put_rest(
    on: &mut AnyConnection,
    tailnet_id: u64,
    maker: &str,
    rested_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let mut group = StatementGroup::default();
    add_forgetting(&mut group, tailnet_id, maker, now);
    add_rest(&mut group, tailnet_id, maker, rested_at);
    group.execute(on).await
}

/// Forgets who is rested but for one maker, with other statements.
pub fn add_forgetting(
    group: &mut StatementGroup,
    tailnet_id: u64,
    maker: &str,
    now: DateTime<Utc>,
) {
    // The cast keeps SQLite from planning the statement anew for each time.
    group.add(
        "DELETE FROM paces WHERE tailnet_id = $1 AND rested_at <= CAST($2 AS BIGINT) AND maker <> $3",
    );
    group.bind(tailnet_id.cast_signed()).bind(to_micros(now));
    group.bind(maker.to_owned());
}

/// Notes when a maker is rested, with other statements.
pub fn add_rest(
    group: &mut StatementGroup,
    tailnet_id: u64,
    maker: &str,
    rested_at: DateTime<Utc>,
) {
    group.add(
        "INSERT INTO paces (tailnet_id, maker, rested_at) VALUES ($1, $2, $3)
         ON CONFLICT (tailnet_id, maker) DO UPDATE SET rested_at = excluded.rested_at",
    );
    group.bind(tailnet_id.cast_signed()).bind(maker.to_owned());
    group.bind(to_micros(rested_at));
}
