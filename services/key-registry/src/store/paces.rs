//! How often who makes nodes may make more.

use bowline_db::{DatabaseError, from_micros, to_micros};
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
    sqlx::query("DELETE FROM paces WHERE tailnet_id = $1 AND rested_at <= $2")
        .bind(tailnet_id.cast_signed())
        .bind(to_micros(now))
        .execute(&mut *on)
        .await?;
    sqlx::query(
        "INSERT INTO paces (tailnet_id, maker, rested_at) VALUES ($1, $2, $3)
         ON CONFLICT (tailnet_id, maker) DO UPDATE SET rested_at = excluded.rested_at",
    )
    .bind(tailnet_id.cast_signed())
    .bind(maker.to_owned())
    .bind(to_micros(rested_at))
    .execute(on)
    .await?;
    Ok(())
}
