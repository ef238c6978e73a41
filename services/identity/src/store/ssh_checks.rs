//! When people proved last, for SSH connections, who they are.

use bowline_db::{DatabaseError, from_micros, to_micros};
use bowline_proto::identity::v1::SshConnection;
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

/// Returns when the user behind a connection's source was checked last.
pub async fn find_check<'e>(
    on: impl Executor<'e, Database = Any>,
    ssh: &SshConnection,
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let query = sqlx::query(
        "SELECT checked_at FROM ssh_checks WHERE source_node_id = $1 AND tailnet_id = $2 AND user_id = $3",
    );
    let found = query
        .bind(ssh.source_node_id.cast_signed())
        .bind(ssh.tailnet_id.cast_signed())
        .bind(ssh.user_id.cast_signed())
        .fetch_optional(on)
        .await?;
    found.map_or(Ok(None), |row| Ok(from_micros(row.try_get("checked_at")?)))
}

/// Records that the user behind a connection's source is checked.
pub async fn put_check(
    on: &mut AnyConnection,
    ssh: &SshConnection,
    checked_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO ssh_checks (source_node_id, tailnet_id, user_id, checked_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (source_node_id) DO UPDATE SET tailnet_id = excluded.tailnet_id,
             user_id = excluded.user_id, checked_at = excluded.checked_at",
    )
    .bind(ssh.source_node_id.cast_signed())
    .bind(ssh.tailnet_id.cast_signed())
    .bind(ssh.user_id.cast_signed())
    .bind(to_micros(checked_at))
    .execute(on)
    .await?;
    Ok(())
}

/// Forgets checks of before a time.
pub async fn forget_checks(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM ssh_checks WHERE checked_at < $1");
    query.bind(to_micros(before)).execute(on).await?;
    Ok(())
}
