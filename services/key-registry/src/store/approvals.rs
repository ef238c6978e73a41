//! Which nodes wait for an administrator's approval.

use bowline_db::DatabaseError;
use bowline_proto::key_registry::v1::Node;
use sqlx::{Any, AnyConnection, Executor, Row as _};

use super::{decode_bodies, decode_body};

/// Returns the nodes of a tailnet that wait for approval, and are not denied.
pub async fn list_waiting<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<Vec<Node>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM nodes WHERE tailnet_id = $1 AND (approved = 0 OR approved IS NULL)",
    );
    let rows = query.bind(tailnet_id.cast_signed()).fetch_all(on).await?;
    let mut found: Vec<Node> = decode_bodies("nodes", &rows)?;
    // What an older release has approved since counts.
    found.retain(|node| !node.approved && !node.denied);
    Ok(found)
}

/// Fills in which nodes are approved where an older release left it out, 500 at a time. Returns how many: zero when none is
/// left.
pub async fn fill_in_approval(on: &mut AnyConnection) -> Result<usize, DatabaseError> {
    let rows = sqlx::query("SELECT id, body FROM nodes WHERE approved IS NULL LIMIT 500");
    let rows = rows.fetch_all(&mut *on).await?;
    for row in &rows {
        let node: Node = decode_body("nodes", row)?;
        let query = "UPDATE nodes SET approved = $2 WHERE id = $1 AND approved IS NULL";
        sqlx::query(query)
            .bind(row.try_get::<i64, _>("id")?)
            .bind(i64::from(node.approved))
            .execute(&mut *on)
            .await?;
    }
    Ok(rows.len())
}
