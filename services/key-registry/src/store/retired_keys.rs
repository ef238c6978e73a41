//! Keys that no node has any more.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::key_registry::v1::FormerHolder;
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor, Row as _};

use crate::domain::retired_key::{hash_key, hash_machine};

/// Returns who had a key that is kept as a hash. The machine is told only where it is the one that is asked about.
pub async fn find_holder(
    on: &mut AnyConnection,
    node_key: &[u8],
    machine_key: &[u8],
) -> Result<Option<FormerHolder>, DatabaseError> {
    let query = sqlx::query("SELECT machine_hash, node_id FROM retired_keys WHERE key_hash = $1");
    let Some(row) = query.bind(hash_key(node_key)).fetch_optional(on).await? else {
        return Ok(None);
    };
    let (machine, node): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(describe_holder(node_key, machine_key, &machine, node)))
}

/// Returns who had a key, from its row: the machine is told only where its hash is that of the one that is asked about.
pub fn describe_holder(
    node_key: &[u8],
    machine_key: &[u8],
    machine_hash: &[u8],
    node_id: i64,
) -> FormerHolder {
    let is_asked = machine_hash == hash_machine(node_key, machine_key);
    FormerHolder {
        machine_key: if is_asked {
            machine_key.to_vec()
        } else {
            Vec::new()
        },
        node_id: node_id.cast_unsigned(),
    }
}

/// Says whether a key is kept as a hash.
pub async fn is_known(on: &mut AnyConnection, node_key: &[u8]) -> Result<bool, DatabaseError> {
    let query = sqlx::query("SELECT 1 FROM retired_keys WHERE key_hash = $1");
    let found = query.bind(hash_key(node_key)).fetch_optional(on).await?;
    Ok(found.is_some())
}

/// Leaves a hash of some keys that were retired before a time, and says of how many.
pub async fn shrink_keys(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64, DatabaseError> {
    let query = sqlx::query(
        "SELECT node_key, machine_key, node_id FROM node_keys WHERE retired_at < $1
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.node_key = node_keys.node_key)
         ORDER BY retired_at LIMIT $2",
    );
    let query = query.bind(to_micros(before)).bind(i64::from(limit));
    let rows = query.fetch_all(&mut *on).await?;
    let mut shrunk = 0;
    for row in rows {
        let (key, machine): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        let node: i64 = row.try_get(2)?;
        // Another replica may be at it, too.
        let deleting = sqlx::query("DELETE FROM node_keys WHERE node_key = $1");
        let deleted = deleting.bind(key.clone()).execute(&mut *on).await?;
        if deleted.rows_affected() == 0 {
            continue;
        }
        let query = sqlx::query(
            "INSERT INTO retired_keys (key_hash, machine_hash, node_id) VALUES ($1, $2, $3)
             ON CONFLICT (key_hash) DO NOTHING",
        );
        let query = query
            .bind(hash_key(&key))
            .bind(hash_machine(&key, &machine));
        query.bind(node).execute(&mut *on).await?;
        shrunk += 1;
    }
    Ok(shrunk)
}

/// A key that is not marked as retired.
#[derive(Clone, Debug)]
pub struct UnmarkedKey {
    /// The key.
    pub node_key: Vec<u8>,
    /// Whether a node has it.
    pub is_bound: bool,
}

/// Returns some keys that are not marked as retired, in order, from after one on.
pub async fn list_unmarked<'e>(
    on: impl Executor<'e, Database = Any>,
    after: &[u8],
    limit: u32,
) -> Result<Vec<UnmarkedKey>, DatabaseError> {
    let query = sqlx::query(
        "SELECT node_keys.node_key, nodes.id FROM node_keys
         LEFT JOIN nodes ON nodes.node_key = node_keys.node_key
         WHERE node_keys.node_key > $1 AND retired_at IS NULL ORDER BY node_keys.node_key LIMIT $2",
    );
    let query = query.bind(after.to_vec()).bind(i64::from(limit));
    let read = |row: &sqlx::any::AnyRow| {
        let node: Option<i64> = row.try_get(1)?;
        Ok(UnmarkedKey {
            node_key: row.try_get(0)?,
            is_bound: node.is_some(),
        })
    };
    query.fetch_all(on).await?.iter().map(read).collect()
}

/// Notes when a key was retired.
pub async fn mark_retired(
    on: &mut AnyConnection,
    node_key: &[u8],
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE node_keys SET retired_at = $2 WHERE node_key = $1")
        .bind(node_key.to_vec())
        .bind(to_micros(now))
        .execute(on)
        .await?;
    Ok(())
}

/// Does the same unless a node has the key.
pub async fn mark_if_retired(
    on: &mut AnyConnection,
    node_key: &[u8],
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE node_keys SET retired_at = $2 WHERE node_key = $1 AND retired_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.node_key = $1)",
    )
    .bind(node_key.to_vec())
    .bind(to_micros(now))
    .execute(on)
    .await?;
    Ok(())
}
