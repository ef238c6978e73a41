//! Identifiers from the schema's one sequence.

use sqlx::AnyConnection;

use crate::{DatabaseError, SqlDialect, StatementGroup};

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

/// Returns the expression that is the next identifier in a statement of a writing transaction, for whom a statement of its own is
/// too much. Whoever uses the identifier adds [`keep_id`] to what the transaction writes.
#[must_use]
pub fn next_id_sql(dialect: SqlDialect) -> &'static str {
    match dialect {
        SqlDialect::Postgres => "nextval('ids')",
        // Nobody else takes one before the transaction ends: there is one writer.
        SqlDialect::Sqlite => "(SELECT last + 1 FROM ids)",
    }
}

/// Notes that an identifier which was read by [`next_id_sql`] is used.
pub fn keep_id(group: &mut StatementGroup, dialect: SqlDialect, id: i64) {
    if dialect == SqlDialect::Sqlite {
        group
            .add("UPDATE ids SET last = $1 WHERE last < $1")
            .bind(id);
    }
}
