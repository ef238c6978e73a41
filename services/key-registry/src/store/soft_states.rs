//! What nodes report of themselves, and their presence.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::key_registry::v1::SoftState;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::{message, messages};

/// A node's soft state with what only the registry keeps of it.
#[derive(Clone, Debug, Default)]
pub struct SoftRow {
    /// The tailnet.
    pub tailnet_id: u64,
    /// As others see it.
    pub state: SoftState,
    /// The gateway incarnation whose report it is.
    pub gateway: String,
    /// That report's number.
    pub sequence: u64,
    /// When it counts as offline, unless a session begins before.
    pub offline_at: Option<i64>,
}

fn row(row: &AnyRow) -> Result<SoftRow, DatabaseError> {
    Ok(SoftRow {
        tailnet_id: row.try_get::<i64, _>("tailnet_id")?.cast_unsigned(),
        state: message("soft_states", row)?,
        gateway: row.try_get("gateway")?,
        sequence: row.try_get::<i64, _>("sequence")?.cast_unsigned(),
        offline_at: row.try_get("offline_at")?,
    })
}

const COLUMNS_OF_NODE: &str =
    "SELECT tailnet_id, gateway, sequence, offline_at, body FROM soft_states WHERE node_id = $1";

/// Returns a node's soft state.
pub async fn by_node<'e>(
    on: impl Executor<'e, Database = Any>,
    node_id: u64,
) -> Result<Option<SoftRow>, DatabaseError> {
    let query = sqlx::query(COLUMNS_OF_NODE).bind(node_id.cast_signed());
    query
        .fetch_optional(on)
        .await?
        .map(|found| row(&found))
        .transpose()
}

/// Returns the soft states of a tailnet by node.
pub async fn of_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<SoftState>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM soft_states WHERE tailnet_id = $1 ORDER BY node_id");
    messages(
        "soft_states",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Returns soft states newer than a revision, in its order, at most `limit`.
pub async fn since<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
    soft_revision: u64,
    limit: i64,
) -> Result<Vec<SoftState>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM soft_states WHERE tailnet_id = $1 AND soft_revision > $2
         ORDER BY soft_revision LIMIT $3",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(soft_revision.cast_signed())
        .bind(limit);
    messages("soft_states", &query.fetch_all(on).await?)
}

/// Returns some rows that count as offline now.
pub async fn going_offline<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<SoftRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT tailnet_id, gateway, sequence, offline_at, body FROM soft_states
         WHERE online = 1 AND offline_at <= $1 ORDER BY tailnet_id LIMIT 1000",
    );
    query
        .bind(to_micros(now))
        .fetch_all(on)
        .await?
        .iter()
        .map(row)
        .collect()
}

/// Starts the grace time of the nodes that a gateway without lease holds online.
pub async fn doubt(
    on: &mut AnyConnection,
    gateway: &str,
    offline_at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "UPDATE soft_states SET offline_at = $2 WHERE gateway = $1 AND online = 1 AND offline_at IS NULL",
    )
    .bind(gateway.to_owned())
    .bind(to_micros(offline_at))
    .execute(on)
    .await?;
    Ok(())
}

/// Writes a node's soft state.
pub async fn put(on: &mut AnyConnection, row: &SoftRow) -> Result<(), DatabaseError> {
    let last_seen = row
        .state
        .last_seen
        .map_or(0, |seen| seen.seconds * 1_000_000);
    sqlx::query(
        "INSERT INTO soft_states
             (node_id, tailnet_id, soft_revision, gateway, sequence, online, offline_at, last_seen, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (node_id) DO UPDATE SET soft_revision = excluded.soft_revision,
             gateway = excluded.gateway, sequence = excluded.sequence, online = excluded.online,
             offline_at = excluded.offline_at, last_seen = excluded.last_seen, body = excluded.body",
    )
    .bind(row.state.node_id.cast_signed())
    .bind(row.tailnet_id.cast_signed())
    .bind(row.state.soft_revision.cast_signed())
    .bind(row.gateway.clone())
    .bind(row.sequence.cast_signed())
    .bind(i64::from(row.state.online))
    .bind(row.offline_at)
    .bind(last_seen)
    .bind(row.state.encode_to_vec())
    .execute(on)
    .await?;
    Ok(())
}
