//! Conditions that logins must meet.

use bowline_db::DatabaseError;
use bowline_proto::identity::v1::Condition;
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor};

use super::decode_bodies;

/// Returns the conditions of a tailnet, oldest first.
pub async fn list_conditions<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Condition>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM conditions WHERE tailnet_id = $1 ORDER BY id");
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    decode_bodies("conditions", &rows)
}

/// Writes a new condition.
pub async fn insert_condition(
    on: &mut AnyConnection,
    condition: &Condition,
) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO conditions (id, tailnet_id, body) VALUES ($1, $2, $3)")
        .bind(condition.id.cast_signed())
        .bind(condition.tailnet_id.cast_signed())
        .bind(condition.encode_to_vec())
        .execute(on)
        .await?;
    Ok(())
}

/// Removes a condition.
pub async fn delete_condition(on: &mut AnyConnection, id: u64) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM conditions WHERE id = $1");
    query.bind(id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Removes the conditions of a tailnet.
pub async fn delete_of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM conditions WHERE tailnet_id = $1");
    query.bind(tailnet_id.cast_signed()).execute(on).await?;
    Ok(())
}
