//! Pre-auth keys.

use bowline_db::{DatabaseError, StatementGroup, to_micros};
use bowline_proto::key_registry::v1::PreAuthKey;
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _};

use super::{decode_bodies, decode_body};
use crate::domain::from_timestamp;

/// Returns a key and the hash of its text.
pub async fn by_id<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<(PreAuthKey, Vec<u8>)>, DatabaseError> {
    let query = sqlx::query("SELECT body, hash FROM pre_auth_keys WHERE id = $1");
    let row = query.bind(id.to_owned()).fetch_optional(on).await?;
    row.map(|row| Ok((decode_body("pre_auth_keys", &row)?, row.try_get("hash")?)))
        .transpose()
}

/// Returns the keys of a tailnet, newest first.
pub async fn of_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<PreAuthKey>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM pre_auth_keys WHERE tailnet_id = $1 ORDER BY created_at DESC, id",
    );
    decode_bodies(
        "pre_auth_keys",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Writes a new key.
pub async fn insert_key(
    on: &mut AnyConnection,
    key: &PreAuthKey,
    hash: Vec<u8>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO pre_auth_keys (id, tailnet_id, hash, created_at, body) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(key.id.clone())
    .bind(key.tailnet_id.cast_signed())
    .bind(hash)
    .bind(key.created_at.and_then(from_timestamp).map_or(0, to_micros))
    .bind(key.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}

/// Writes a known key.
pub async fn update_key(on: &mut AnyConnection, key: &PreAuthKey) -> Result<(), DatabaseError> {
    let mut group = StatementGroup::default();
    add_update(&mut group, key);
    group.execute(on).await
}

/// Writes a known key, with other statements.
pub fn add_update(group: &mut StatementGroup, key: &PreAuthKey) {
    group.add("UPDATE pre_auth_keys SET body = $2 WHERE id = $1");
    group.bind(key.id.clone()).bind(key.encode_to_vec());
}
