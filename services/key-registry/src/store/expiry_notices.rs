//! Of which keys the audit trail says that they end within a day.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Executor};

use super::decode_readable;

/// Returns some nodes whose key ends within a time from now, and of which the trail does not say so yet.
pub async fn list_expiring<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE expired = 0 AND key_expiry > $1 AND key_expiry <= $2
             AND (expiry_noticed IS NULL OR expiry_noticed <> key_expiry)
         ORDER BY key_expiry LIMIT 1000",
    );
    let query = query.bind(to_micros(now)).bind(to_micros(until));
    let found = query.fetch_all(on).await?;
    Ok(decode_readable("nodes", &found))
}

/// Notes that the trail says when a node's key ends; says whether it did not before.
pub async fn notice_expiry(
    on: &mut AnyConnection,
    node_id: u64,
    end: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "UPDATE nodes SET expiry_noticed = $2
         WHERE id = $1 AND expired = 0 AND key_expiry = $2 AND (expiry_noticed IS NULL OR expiry_noticed <> $2)",
    );
    let query = query.bind(node_id.cast_signed()).bind(to_micros(end));
    Ok(query.execute(on).await?.rows_affected() == 1)
}
