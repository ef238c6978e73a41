//! Transactions outside the change log: consistent reads, and writes that no tailnet owns.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, AnyPool, SqlSafeStr as _, Transaction};

use crate::{Database, DatabaseError, SqlDialect};

/// Begins a transaction, also when the caller goes away meanwhile; then it ends at once.
///
/// The PostgreSQL driver forgets a transaction whose caller goes away while the server begins it: its connection would go back
/// to the pool with the transaction open, and whoever gets it next would read an old state. So there it begins in a task of its
/// own, which nobody ends.
pub(crate) async fn begin_transaction(
    pool: &AnyPool,
    dialect: SqlDialect,
    statement: &'static str,
) -> Result<Transaction<'static, Any>, DatabaseError> {
    let connection = pool.acquire().await?;
    let beginning = Transaction::begin(connection, Some(statement.into_sql_str()));
    if dialect == SqlDialect::Sqlite {
        return Ok(beginning.await?);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with its only statement, and is awaited"
    )]
    let beginning = tokio::spawn(beginning);
    match beginning.await {
        Ok(begun) => Ok(begun?),
        Err(error) => Err(DatabaseError::unavailable(format!(
            "a transaction did not begin: {error}"
        ))),
    }
}

/// A read-only transaction: every query in it sees the same state, that of its first query.
///
/// It is an `AnyConnection` to `sqlx`: `query(…).fetch_all(&mut *read)`. Dropping it ends it.
#[derive(Debug)]
pub struct ReadTransaction(pub(crate) Transaction<'static, Any>);

impl Deref for ReadTransaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.0
    }
}

impl DerefMut for ReadTransaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.0
    }
}

/// A writing transaction of its own, see [`Database::write`](crate::Database::write).
#[derive(Debug)]
pub struct WriteTransaction {
    transaction: Transaction<'static, Any>,
    now: DateTime<Utc>,
}

impl WriteTransaction {
    pub(crate) async fn begin(database: &Database) -> Result<Self, DatabaseError> {
        let mut transaction = database.begin_write().await?;
        let now = database.now_on(&mut transaction).await?;
        Ok(Self { transaction, now })
    }

    pub(crate) async fn commit(self) -> Result<(), DatabaseError> {
        Ok(self.transaction.commit().await?)
    }

    /// Returns the connection to query.
    pub fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// Returns the database's time when the transaction began.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }
}
