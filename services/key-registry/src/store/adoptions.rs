//! What nodes have asked to change of themselves that is not done yet, and how often they may.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _, any::AnyRow};

use super::TailnetNode;

/// When something is due that waits for its node to be in good standing again.
pub const DUE_IN_GOOD_STANDING: i64 = i64::MAX;
/// How many are taken up at the same time.
const MOST_AT_ONCE: i64 = 1000;

/// One node's row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdoptionRow {
    /// The node.
    pub node_id: u64,
    /// Its tailnet.
    pub tailnet_id: u64,
    /// When its newest report is taken over, microseconds; `None` when nothing is left to do.
    pub due: Option<i64>,
    /// The end of its key that it wishes, microseconds.
    pub wished_end: Option<i64>,
    /// When it has all the changes it may make at once again, microseconds.
    pub rested_at: i64,
    /// When the audit trail said last what it changed, microseconds.
    pub audited_at: i64,
    /// When the audit trail says so next, where something changed since.
    pub audit_due: Option<i64>,
    /// The node as the audit trail said last, where something changed since.
    pub audited_node: Option<Node>,
}

impl AdoptionRow {
    /// Returns the row of a node that has not asked for anything yet.
    #[must_use]
    pub fn for_node(node: &Node) -> Self {
        Self {
            node_id: node.id,
            tailnet_id: node.tailnet_id,
            ..Self::default()
        }
    }
}

fn read_row(row: &AnyRow) -> Result<AdoptionRow, DatabaseError> {
    let audited: Option<Vec<u8>> = row.try_get("audited_node")?;
    let audited = audited.map(|body| Node::decode(&*body)).transpose();
    let audited_node = audited.map_err(|_| DatabaseError::Inconsistent {
        table: "adoptions",
        row: "its node does not decode".to_owned(),
    })?;
    Ok(AdoptionRow {
        node_id: row.try_get::<i64, _>("node_id")?.cast_unsigned(),
        tailnet_id: row.try_get::<i64, _>("tailnet_id")?.cast_unsigned(),
        due: row.try_get("due")?,
        wished_end: row.try_get("wished_end")?,
        rested_at: row.try_get("rested_at")?,
        audited_at: row.try_get("audited_at")?,
        audit_due: row.try_get("audit_due")?,
        audited_node,
    })
}

/// Returns a node's row.
pub async fn by_node<'e>(
    on: impl Executor<'e, Database = Any>,
    node_id: u64,
) -> Result<Option<AdoptionRow>, DatabaseError> {
    let query = sqlx::query("SELECT * FROM adoptions WHERE node_id = $1");
    let row = query.bind(node_id.cast_signed()).fetch_optional(on).await?;
    row.map(|row| read_row(&row)).transpose()
}

/// Returns the nodes, with their tailnets, whose reports are due.
pub async fn list_due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<TailnetNode>, DatabaseError> {
    let sql = "SELECT tailnet_id, node_id FROM adoptions WHERE due <= $1 ORDER BY due LIMIT $2";
    list_nodes(sql, on, now).await
}

/// Returns the nodes, with their tailnets, of whose changes the audit trail is to say now.
pub async fn list_due_audits<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<TailnetNode>, DatabaseError> {
    let sql = "SELECT tailnet_id, node_id FROM adoptions WHERE audit_due <= $1 ORDER BY audit_due LIMIT $2";
    list_nodes(sql, on, now).await
}

async fn list_nodes<'e>(
    sql: &'static str,
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
) -> Result<Vec<TailnetNode>, DatabaseError> {
    let rows = sqlx::query(sql).bind(to_micros(now)).bind(MOST_AT_ONCE);
    let rows = rows.fetch_all(on).await?;
    let id = |row: &AnyRow, place: usize| {
        let id = row.try_get::<i64, _>(place).map(i64::cast_unsigned);
        id.map_err(DatabaseError::from)
    };
    rows.iter()
        .map(|row| {
            Ok(TailnetNode {
                tailnet_id: id(row, 0)?,
                node_id: id(row, 1)?,
            })
        })
        .collect()
}

/// Writes a node's row.
pub async fn put_row(on: &mut AnyConnection, row: &AdoptionRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO adoptions
             (node_id, tailnet_id, due, wished_end, rested_at, audited_at, audit_due, audited_node)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (node_id) DO UPDATE SET due = excluded.due, wished_end = excluded.wished_end,
             rested_at = excluded.rested_at, audited_at = excluded.audited_at,
             audit_due = excluded.audit_due, audited_node = excluded.audited_node",
    )
    .bind(row.node_id.cast_signed())
    .bind(row.tailnet_id.cast_signed())
    .bind(row.due)
    .bind(row.wished_end)
    .bind(row.rested_at)
    .bind(row.audited_at)
    .bind(row.audit_due)
    .bind(row.audited_node.as_ref().map(Node::encode_to_vec))
    .execute(on)
    .await?;
    Ok(())
}

/// Notes when a node's newest report is looked at.
pub async fn note_due(
    on: &mut AnyConnection,
    node: TailnetNode,
    due: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO adoptions (node_id, tailnet_id, due, rested_at, audited_at)
         SELECT id, tailnet_id, $3, 0, 0 FROM nodes WHERE id = $1 AND tailnet_id = $2
         ON CONFLICT (node_id) DO UPDATE SET due = excluded.due",
    )
    .bind(node.node_id.cast_signed())
    .bind(node.tailnet_id.cast_signed())
    .bind(to_micros(due))
    .execute(on)
    .await?;
    Ok(())
}

/// Lets what waits for a node's good standing be looked at now.
pub async fn wake_node(
    on: &mut AnyConnection,
    node_id: u64,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("UPDATE adoptions SET due = $2 WHERE node_id = $1 AND due = $3")
        .bind(node_id.cast_signed())
        .bind(to_micros(now))
        .bind(DUE_IN_GOOD_STANDING);
    Ok(query.execute(on).await?.rows_affected() > 0)
}

/// Lets what waits for the good standing of a tailnet's nodes be looked at now.
pub async fn wake_tailnet(
    on: &mut AnyConnection,
    tailnet_id: u64,
    now: DateTime<Utc>,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("UPDATE adoptions SET due = $2 WHERE tailnet_id = $1 AND due = $3")
        .bind(tailnet_id.cast_signed())
        .bind(to_micros(now))
        .bind(DUE_IN_GOOD_STANDING);
    Ok(query.execute(on).await?.rows_affected() > 0)
}
