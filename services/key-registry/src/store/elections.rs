//! Tailnets whose primary routers have to be elected again.

use bowline_db::DatabaseError;
use sqlx::{Any, AnyConnection, Executor};

/// Records that an election is due in a tailnet, in the transaction that makes it due.
pub async fn mark_pending(on: &mut AnyConnection, tailnet_id: u64) -> Result<(), DatabaseError> {
    let query =
        sqlx::query("INSERT INTO elections (tailnet_id) VALUES ($1) ON CONFLICT DO NOTHING");
    query.bind(tailnet_id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Takes the record that an election is due, in the transaction that elects; says whether there was one.
pub async fn take_pending(on: &mut AnyConnection, tailnet_id: u64) -> Result<bool, DatabaseError> {
    let query = sqlx::query("DELETE FROM elections WHERE tailnet_id = $1");
    let deleted = query.bind(tailnet_id.cast_signed()).execute(on).await?;
    Ok(deleted.rows_affected() > 0)
}

/// Returns the tailnets where an election is due.
pub async fn list_pending<'e>(
    on: impl Executor<'e, Database = Any>,
) -> Result<Vec<u64>, DatabaseError> {
    let query = sqlx::query_scalar::<_, i64>("SELECT tailnet_id FROM elections");
    let found = query.fetch_all(on).await?;
    Ok(found.into_iter().map(i64::cast_unsigned).collect())
}
