//! Users and tailnets that were deleted.

use bowline_db::DatabaseError;
use sqlx::AnyConnection;

/// Notes that a user is deleted, with everybody who was merged into it.
pub async fn note_deleted_user(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: u64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO deleted_users (tailnet_id, user_id)
         SELECT tailnet_id, former_id FROM former_users WHERE tailnet_id = $1 AND user_id = $2
         UNION SELECT $1, $2
         ON CONFLICT DO NOTHING",
    )
    .bind(tailnet_id.cast_signed())
    .bind(user_id.cast_signed())
    .execute(on)
    .await?;
    Ok(())
}

/// Notes that a tailnet is deleted.
pub async fn note_deleted_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO deleted_tailnets (tailnet_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(tailnet_id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Returns the deleted users of a tailnet.
pub async fn list_deleted_users(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT user_id FROM deleted_users WHERE tailnet_id = $1 ORDER BY user_id",
    );
    let found = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Says whether a tailnet is deleted.
pub async fn is_tailnet_deleted(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("SELECT 1 FROM deleted_tailnets WHERE tailnet_id = $1");
    let query = query.bind(tailnet_id.cast_signed());
    Ok(query.fetch_optional(on).await?.is_some())
}
