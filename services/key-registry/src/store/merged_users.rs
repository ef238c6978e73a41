//! Users who were merged into another, as far as it is done here.

use bowline_db::DatabaseError;
use sqlx::AnyConnection;

/// Notes that a user is another now; says whether that is new here.
pub async fn note_merged(
    on: &mut AnyConnection,
    tailnet_id: u64,
    former_id: u64,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO merged_users (tailnet_id, former_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(former_id.cast_signed());
    Ok(query.execute(on).await?.rows_affected() > 0)
}
