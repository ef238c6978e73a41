//! Identifiers from the schema's one sequence.

use sqlx::AnyConnection;

use crate::{DatabaseError, SqlDialect};

/// Returns an identifier nobody was given before, at least 1.
///
/// All tailnets of a schema share the sequence. An identifier taken in a transaction that rolls back is seen by
/// nobody; PostgreSQL leaves a hole for it.
///
/// # Errors
///
/// [`DatabaseError`] when the database can not answer.
pub async fn next_id(connection: &mut AnyConnection) -> Result<i64, DatabaseError> {
    let sql = match SqlDialect::of(connection) {
        SqlDialect::Postgres => "SELECT nextval('ids')",
        SqlDialect::Sqlite => "UPDATE ids SET last = last + 1 RETURNING last",
    };
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}
