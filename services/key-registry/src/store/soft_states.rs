//! What nodes report of themselves, and their presence.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::key_registry::v1::{HostReport, Node, SoftState};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use prost::Message as _;
use sqlx::{Any, AnyConnection, AnyPool, Executor, Row as _, any::AnyRow};

use super::{TailnetNode, decode_bodies, decode_body};
use crate::domain::{from_timestamp, to_timestamp};

/// The most rows that share a soft revision: what one batch writes.
pub const LARGEST_BATCH: usize = 1000;
/// After how many rows, or bytes of rows, an answer to a follower ends with the current revision.
const PAGE_ROWS: usize = 1000;
const PAGE_BYTES: usize = 2 << 20;
/// How many rows go offline in one batch. It is small, because a row may hold a long description of its host.
const MOST_GOING_OFFLINE: i64 = 100;

/// A node's soft state with what only the registry keeps of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoftRow {
    /// The tailnet.
    pub tailnet_id: u64,
    /// As others see it.
    pub state: SoftState,
    /// The gateway incarnation whose session holds it online.
    pub gateway: String,
    /// The gateway incarnation that the report came through.
    pub reporter: String,
    /// The report's number, among those that came through that gateway.
    pub sequence: u64,
    /// When the client sent the report, microseconds.
    pub reported_at: i64,
    /// When it counts as offline, unless a session begins before.
    pub offline_at: Option<i64>,
    /// What the newest report that speaks of the host says of it that policy judges; `None` before the first.
    pub host: Option<HostReport>,
}

impl SoftRow {
    /// Returns the row of a node that has reported nothing.
    #[must_use]
    pub fn for_node(node: &Node) -> Self {
        Self {
            tailnet_id: node.tailnet_id,
            state: SoftState {
                node_id: node.id,
                ..SoftState::default()
            },
            ..Self::default()
        }
    }

    /// Returns the row of a node that reports for the first time.
    #[must_use]
    pub fn first_seen(node: &Node, now: DateTime<Utc>) -> Self {
        let mut row = Self::for_node(node);
        row.state.last_seen = Some(to_timestamp(now));
        row
    }
}

fn read_row(row: &AnyRow) -> Result<SoftRow, DatabaseError> {
    let host: Option<Vec<u8>> = row.try_get("host")?;
    let host = host.map(|body| HostReport::decode(&*body)).transpose();
    Ok(SoftRow {
        host: host.map_err(|_| DatabaseError::Inconsistent {
            table: "soft_states",
            row: "its host does not decode".to_owned(),
        })?,
        tailnet_id: row.try_get::<i64, _>("tailnet_id")?.cast_unsigned(),
        state: decode_body("soft_states", row)?,
        gateway: row.try_get("gateway")?,
        reporter: row.try_get("reporter")?,
        sequence: row.try_get::<i64, _>("sequence")?.cast_unsigned(),
        reported_at: row.try_get("reported_at")?,
        offline_at: row.try_get("offline_at")?,
    })
}

const BY_NODE: &str =
    "SELECT tailnet_id, gateway, reporter, sequence, reported_at, offline_at, body, host
     FROM soft_states WHERE node_id = $1";

/// Returns a node's soft state.
pub async fn by_node<'e>(
    on: impl Executor<'e, Database = Any>,
    node_id: u64,
) -> Result<Option<SoftRow>, DatabaseError> {
    let query = sqlx::query(BY_NODE).bind(node_id.cast_signed());
    query
        .fetch_optional(on)
        .await?
        .map(|found| read_row(&found))
        .transpose()
}

/// Returns the soft states of a tailnet by node.
pub async fn of_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<SoftState>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM soft_states WHERE tailnet_id = $1 ORDER BY node_id");
    decode_bodies(
        "soft_states",
        &query.bind(tailnet_id.cast_signed()).fetch_all(on).await?,
    )
}

/// Some soft states in the order of their revisions; of each revision all or none.
#[derive(Debug, Default)]
pub struct SoftPage {
    /// The soft states.
    pub states: Vec<SoftState>,
    /// The last revision in it when more follow; `None` when it leads to the end.
    pub through: Option<u64>,
}

/// Returns soft states newer than a revision.
pub async fn list_since(
    on: &AnyPool,
    tailnet_id: u64,
    soft_revision: u64,
) -> Result<SoftPage, DatabaseError> {
    const LIMIT: usize = PAGE_ROWS + LARGEST_BATCH + 1;
    let query = sqlx::query(
        "SELECT soft_revision, body FROM soft_states WHERE tailnet_id = $1 AND soft_revision > $2
         ORDER BY soft_revision LIMIT $3",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(soft_revision.cast_signed())
        .bind(LIMIT as i64);
    let mut rows = query.fetch(on);
    let (mut page, mut last, mut bytes) = (SoftPage::default(), 0, 0);
    while let Some(row) = rows.try_next().await? {
        let revision = row.try_get::<i64, _>(0)?.cast_unsigned();
        let is_full = page.states.len() >= PAGE_ROWS || bytes > PAGE_BYTES;
        if is_full && revision != last {
            page.through = Some(last);
            break;
        }
        bytes += row.try_get::<Vec<u8>, _>(1)?.len();
        page.states.push(decode_body("soft_states", &row)?);
        last = revision;
    }
    Ok(page)
}

/// The times before which an end makes a node count as offline.
#[derive(Clone, Copy, Debug)]
pub struct OfflineCutoff {
    /// Their session ended, with its time to come back, before this.
    pub reported: DateTime<Utc>,
    /// The lease of their gateway ended before this; nothing while leases do not count.
    pub leases: Option<DateTime<Utc>>,
}

/// Returns some rows after a place that count as offline, in the order of their places. Rows that can not be read are
/// left out; the place after which to go on is `None` at the end.
pub async fn list_going_offline<'e>(
    on: impl Executor<'e, Database = Any> + Copy,
    ends: OfflineCutoff,
    after: TailnetNode,
) -> Result<(Vec<SoftRow>, Option<TailnetNode>), DatabaseError> {
    let ended = sqlx::query(
        "SELECT node_id, tailnet_id, gateway, reporter, sequence, reported_at, offline_at, body, host
         FROM soft_states WHERE online = 1 AND offline_at <= $1
             AND (tailnet_id > $2 OR (tailnet_id = $2 AND node_id > $3))
         ORDER BY tailnet_id, node_id LIMIT $4",
    );
    let ended = ended
        .bind(to_micros(ends.reported))
        .bind(after.tailnet_id.cast_signed())
        .bind(after.node_id.cast_signed())
        .bind(MOST_GOING_OFFLINE);
    let mut found = ended.fetch_all(on).await?;
    if let Some(leases) = ends.leases {
        let left = sqlx::query(
            "SELECT node_id, tailnet_id, soft_states.gateway, reporter, sequence, reported_at, offline_at, body, host
             FROM gateways JOIN soft_states ON soft_states.gateway = gateways.gateway
             WHERE gateways.expires_at < $1 AND soft_states.online = 1
                 AND (tailnet_id > $2 OR (tailnet_id = $2 AND node_id > $3))
             ORDER BY tailnet_id, node_id LIMIT $4",
        );
        let left = left
            .bind(to_micros(leases))
            .bind(after.tailnet_id.cast_signed())
            .bind(after.node_id.cast_signed())
            .bind(MOST_GOING_OFFLINE);
        found.extend(left.fetch_all(on).await?);
    }
    let mut placed = Vec::with_capacity(found.len());
    for row in &found {
        let place = TailnetNode {
            tailnet_id: row.try_get::<i64, _>("tailnet_id")?.cast_unsigned(),
            node_id: row.try_get::<i64, _>("node_id")?.cast_unsigned(),
        };
        placed.push((place, row));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.dedup_by_key(|(place, _)| *place);
    placed.truncate(MOST_GOING_OFFLINE.unsigned_abs() as usize);
    let last = placed.last().map(|(place, _)| *place);
    let read = placed.into_iter().filter_map(|(_, found)| {
        read_row(found)
            .inspect_err(|error| tracing::error!(%error, "a row is left out"))
            .ok()
    });
    Ok((read.collect(), last))
}

/// Writes a node's soft state.
pub async fn put_row(on: &mut AnyConnection, row: &SoftRow) -> Result<(), DatabaseError> {
    let last_seen = row
        .state
        .last_seen
        .and_then(from_timestamp)
        .map_or(0, to_micros);
    sqlx::query(
        "INSERT INTO soft_states
             (node_id, tailnet_id, soft_revision, gateway, sequence, online, offline_at, last_seen, body,
              reporter, reported_at, host)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (node_id) DO UPDATE SET soft_revision = excluded.soft_revision,
             gateway = excluded.gateway, sequence = excluded.sequence, online = excluded.online,
             offline_at = excluded.offline_at, last_seen = excluded.last_seen, body = excluded.body,
             reporter = excluded.reporter, reported_at = excluded.reported_at, host = excluded.host",
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
    .bind(row.reporter.clone())
    .bind(row.reported_at)
    .bind(row.host.as_ref().map(HostReport::encode_to_vec))
    .execute(on)
    .await?;
    Ok(())
}

/// Ends the session of a node whose client has logged out: it counts as offline at once.
pub async fn end_session(
    on: &mut AnyConnection,
    node_id: u64,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query =
        sqlx::query("UPDATE soft_states SET offline_at = $2 WHERE node_id = $1 AND online = 1");
    let query = query.bind(node_id.cast_signed()).bind(to_micros(now));
    query.execute(on).await?;
    Ok(())
}
