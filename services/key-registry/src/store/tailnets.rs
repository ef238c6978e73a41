//! Which tailnets have nodes.

use bowline_db::DatabaseError;
use sqlx::{Any, Executor};

/// Returns the tailnets that have nodes, in ascending order.
pub async fn list_with_nodes<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Vec<u64>, DatabaseError> {
    // It goes through the index from one tailnet to the next: DISTINCT would go through all nodes.
    let query = sqlx::query_scalar::<_, i64>(
        "WITH RECURSIVE found (tailnet_id) AS (
             SELECT MIN(tailnet_id) FROM nodes
             UNION ALL
             SELECT (SELECT MIN(nodes.tailnet_id) FROM nodes WHERE nodes.tailnet_id > found.tailnet_id)
             FROM found WHERE found.tailnet_id IS NOT NULL)
         SELECT tailnet_id FROM found WHERE tailnet_id IS NOT NULL ORDER BY tailnet_id",
    );
    let found = query.fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}

/// Says whether a tailnet has a node.
pub async fn has_nodes<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet_id: u64,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query("SELECT 1 FROM nodes WHERE tailnet_id = $1 LIMIT 1");
    let found = query.bind(tailnet_id.cast_signed()).fetch_optional(on);
    Ok(found.await?.is_some())
}
