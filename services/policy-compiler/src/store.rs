//! The rows of policy versions.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::{policy::v1::PolicyVersion, time::to_timestamp};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

fn read_row(tailnet_id: u64, row: &AnyRow) -> Result<PolicyVersion, DatabaseError> {
    let created_at = from_micros(row.try_get("created_at")?);
    Ok(PolicyVersion {
        tailnet_id,
        version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        text: row.try_get("text")?,
        author: row.try_get("author")?,
        created_at: created_at.map(to_timestamp),
    })
}

/// Returns the number of the version in force, zero for none.
pub async fn newest_version<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<u64, DatabaseError> {
    let newest: i64 = sqlx::query_scalar(
        "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM policies WHERE tailnet_id = $1",
    )
    .bind(tailnet_id.cast_signed())
    .fetch_one(on)
    .await?;
    Ok(newest.cast_unsigned())
}

/// Returns a version.
pub async fn find_version<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    number: u64,
) -> Result<Option<PolicyVersion>, DatabaseError> {
    let row = sqlx::query(
        "SELECT version, author, created_at, text FROM policies WHERE tailnet_id = $1 AND version = $2",
    )
    .bind(tailnet_id.cast_signed())
    .bind(number.cast_signed())
    .fetch_optional(on)
    .await?;
    row.map(|row| read_row(tailnet_id, &row)).transpose()
}

/// Returns the versions before one, or the newest for zero, without their text, newest first.
pub async fn list_versions<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    before: u64,
) -> Result<Vec<PolicyVersion>, DatabaseError> {
    let before = if before == 0 {
        i64::MAX
    } else {
        i64::try_from(before).unwrap_or(i64::MAX)
    };
    let rows = sqlx::query(
        "SELECT version, author, created_at, '' AS text FROM policies
         WHERE tailnet_id = $1 AND version < $2 ORDER BY version DESC LIMIT 1000",
    )
    .bind(tailnet_id.cast_signed())
    .bind(before)
    .fetch_all(on)
    .await?;
    rows.iter().map(|row| read_row(tailnet_id, row)).collect()
}

/// Writes a version.
pub async fn insert_version(
    on: &mut AnyConnection,
    version: &PolicyVersion,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO policies (tailnet_id, version, author, created_at, text) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(version.tailnet_id.cast_signed())
    .bind(version.version.cast_signed())
    .bind(version.author.clone())
    .bind(to_micros(now))
    .bind(version.text.clone())
    .execute(on)
    .await?;
    Ok(())
}
