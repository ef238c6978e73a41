//! How often tailnets want node keys to be replaced.

use bowline_db::DatabaseError;
use bowline_proto::identity::v1::RotationRules;
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor};

use super::decode_body;

/// Returns the rules of a tailnet.
pub async fn of_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<RotationRules, DatabaseError> {
    let query = sqlx::query("SELECT body FROM rotation_rules WHERE tailnet_id = $1");
    let row = query
        .bind(tailnet_id.cast_signed())
        .fetch_optional(on)
        .await?;
    let rules = row.map(|row| decode_body("rotation_rules", &row));
    Ok(rules.transpose()?.unwrap_or_default())
}

/// Writes the rules of a tailnet, which none of its nodes follows yet.
pub async fn put_rules(
    on: &mut AnyConnection,
    tailnet_id: u64,
    rules: &RotationRules,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO rotation_rules (tailnet_id, body, followed_to) VALUES ($1, $2, 0)
         ON CONFLICT (tailnet_id) DO UPDATE SET body = excluded.body, followed_to = 0",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(rules.encode_to_vec());
    query.execute(on).await?;
    Ok(())
}

/// Returns some tailnets with nodes that do not follow the rules yet.
pub async fn list_pending<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT tailnet_id FROM rotation_rules WHERE followed_to IS NOT NULL LIMIT 1000",
    );
    let found = query.fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Returns the last node that follows the rules; `None` once all do.
pub async fn followed_to(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<Option<u64>, DatabaseError> {
    let query = sqlx::query_scalar("SELECT followed_to FROM rotation_rules WHERE tailnet_id = $1");
    let query = query.bind(tailnet_id.cast_signed());
    let found: Option<Option<i64>> = query.fetch_optional(on).await?;
    Ok(found.flatten().map(i64::cast_unsigned))
}

/// Notes the last node that follows the rules, or that all do.
pub async fn set_followed_to(
    on: &mut AnyConnection,
    tailnet_id: u64,
    node_id: Option<u64>,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE rotation_rules SET followed_to = $2 WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .bind(node_id.map(u64::cast_signed))
        .execute(on)
        .await?;
    Ok(())
}
