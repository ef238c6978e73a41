//! Every key that a node ever had, and how it came by it.

use bowline_db::{DatabaseError, StatementGroup, from_micros, to_micros};
use bowline_proto::key_registry::v1::{FormerHolder, Node};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor};

use super::retired_keys;

/// What a key conflicts with that was bound before.
pub const BOUND_ONCE: &str = "node_keys_pkey";

/// Returns the machine and the node that a key was ever bound to. Of a key that was retired long ago the machine is known only
/// where it is `machine_key`.
pub async fn holder_of_key(
    on: &mut AnyConnection,
    node_key: &[u8],
    machine_key: &[u8],
) -> Result<Option<FormerHolder>, DatabaseError> {
    let query = sqlx::query_as("SELECT machine_key, node_id FROM node_keys WHERE node_key = $1");
    let query = query.bind(node_key.to_vec());
    let found: Option<(Vec<u8>, i64)> = query.fetch_optional(&mut *on).await?;
    match found {
        Some((machine_key, node_id)) => Ok(Some(FormerHolder {
            machine_key,
            node_id: node_id.cast_unsigned(),
        })),
        None => retired_keys::find_holder(on, node_key, machine_key).await,
    }
}

/// Returns when a key was bound.
pub async fn bound_at(
    on: &mut AnyConnection,
    node_key: &[u8],
) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let query = sqlx::query_scalar("SELECT bound_at FROM node_keys WHERE node_key = $1");
    let found: Option<i64> = query.bind(node_key.to_vec()).fetch_optional(on).await?;
    Ok(found.and_then(from_micros))
}

/// Binds a key to a machine and a node for ever; a conflict says that it was bound before.
pub async fn bind_key(
    on: &mut AnyConnection,
    node: &Node,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let mut group = StatementGroup::default();
    add_binding(&mut group, node, now);
    group.execute(on).await?;
    // Looked for afterwards: the key may have become a hash a moment ago.
    if retired_keys::is_known(on, &node.node_key).await? {
        let constraint = BOUND_ONCE.to_owned();
        return Err(DatabaseError::Conflict { constraint });
    }
    Ok(())
}

/// Binds a key of which is known, since the transaction began, that it was not bound before, with other statements; a conflict says
/// that it is by now.
pub fn add_binding(group: &mut StatementGroup, node: &Node, now: DateTime<Utc>) {
    group.add(
        "INSERT INTO node_keys (node_key, machine_key, tailnet_id, node_id, bound_at)
         VALUES ($1, $2, $3, $4, $5)",
    );
    group.bind(node.node_key.clone());
    group.bind(node.machine_key.clone());
    group.bind(node.tailnet_id.cast_signed());
    group.bind(node.id.cast_signed()).bind(to_micros(now));
}

/// Returns some nodes, by number, that a pre-auth key of a tailnet registered, as the audit trail tells, and whose key has
/// not ended.
pub async fn list_live_registered_by<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    actor: String,
    limit: usize,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>(
        "SELECT id FROM nodes WHERE tailnet_id = $1 AND expired = 0 AND CAST(id AS TEXT) IN (
             SELECT object FROM audit
             WHERE tailnet_id = $1 AND actor = $2 AND action IN ('node.register', 'node.rotate'))
         ORDER BY id LIMIT $3",
    );
    let query = query.bind(tailnet_id.cast_signed()).bind(actor);
    let found = query
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(on)
        .await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}
