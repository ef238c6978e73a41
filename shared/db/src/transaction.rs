//! Transactions outside the change log: consistent reads, and writes that no tailnet owns.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, Transaction};

use crate::{Database, DatabaseError};

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
