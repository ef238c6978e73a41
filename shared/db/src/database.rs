//! A service's own database.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use bowline_clock::SharedClock;
use bowline_service_kit::SCHEMA_LEVEL;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Transaction};

use crate::{
    DatabaseError, DatabaseOpenError, Migrations, ReadTransaction, WriteTransaction,
    epochs::EpochKeeper, from_micros, transaction::begin_transaction,
};

/// The time of a PostgreSQL server, in microseconds.
const SERVER_TIME: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

/// Which SQL the database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlDialect {
    /// PostgreSQL 14 or newer.
    Postgres,
    /// The SQLite inside this program.
    Sqlite,
}

impl SqlDialect {
    /// Returns what this connection speaks.
    #[must_use]
    pub fn of(connection: &AnyConnection) -> Self {
        match connection.backend_name() {
            "PostgreSQL" => Self::Postgres,
            _ => Self::Sqlite,
        }
    }
}

/// Whose time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The clock of [`DatabaseOptions`], on either database: tests that move time.
    Clock,
    /// The database server's, so that replicas with wrong clocks agree; SQLite has none and uses the clock.
    Server,
}

/// How a service's database is opened.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// The PostgreSQL schema, made when missing; lower-case letters, digits and `_`.
    pub schema: &'static str,
    /// The service's own tables.
    pub migrations: Migrations,
    /// The clock of [`TimeSource::Clock`], and of SQLite.
    pub clock: SharedClock,
    /// Whose time counts.
    pub time: TimeSource,
    /// The schema level of this program.
    pub level: u32,
    /// What the service's tables need when an epoch begins because the database has gone back: statements in which `{base}`, the
    /// number that new ones lie above, and `{now}`, microseconds since 1970, stand for numbers.
    pub epoch_steps: &'static [&'static str],
    /// How many connections may read at once, and on PostgreSQL as many more may write.
    pub connections: u32,
}

impl DatabaseOptions {
    /// Returns the usual options: server time, eight connections.
    #[must_use]
    pub fn new(schema: &'static str, migrations: Migrations, clock: SharedClock) -> Self {
        Self {
            schema,
            migrations,
            clock,
            time: TimeSource::Server,
            level: SCHEMA_LEVEL,
            epoch_steps: &[],
            connections: 8,
        }
    }
}

/// What opening a database gives.
struct OpenedPools {
    writer: AnyPool,
    reader: AnyPool,
    /// The schema level in use.
    level: u32,
}

/// A service's own database: one PostgreSQL schema or one SQLite file. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Database {
    dialect: SqlDialect,
    time: TimeSource,
    clock: SharedClock,
    writer: AnyPool,
    reader: AnyPool,
    /// The schema level in use, which only grows.
    level: Arc<AtomicU32>,
    epochs: Arc<EpochKeeper>,
}

impl Database {
    /// Opens `sqlite://PATH` or `postgres://…` and brings its schema up to date.
    ///
    /// Replicas may start together: one migrates, the others wait for it.
    ///
    /// # Errors
    ///
    /// [`DatabaseOpenError::Newer`] when a newer release has written what this one can not read; else what hindered.
    pub fn open(
        url: &str,
        options: DatabaseOptions,
    ) -> BoxFuture<'_, Result<Self, DatabaseOpenError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            sqlx::any::install_default_drivers();
            let epochs = Arc::new(EpochKeeper::new(url, &options));
            let (dialect, opened) = if let Some(path) = url.strip_prefix("sqlite://") {
                let opened = sqlite::open(path, &options, &epochs).await?;
                (SqlDialect::Sqlite, opened)
            } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
                let opened = postgres::open(url, &options, &epochs).await?;
                (SqlDialect::Postgres, opened)
            } else {
                return Err(DatabaseOpenError::Url);
            };
            Ok(Self {
                dialect,
                time: options.time,
                clock: options.clock,
                writer: opened.writer,
                reader: opened.reader,
                level: Arc::new(AtomicU32::new(opened.level)),
                epochs,
            })
        })
    }

    /// Returns which SQL this database speaks.
    #[must_use]
    pub fn dialect(&self) -> SqlDialect {
        self.dialect
    }

    /// Returns the schema level in use: what a release of a higher level adds is written only from that level on.
    #[must_use]
    pub fn schema_level(&self) -> u32 {
        self.level.load(Ordering::Relaxed)
    }

    /// Refuses what processes of a release below a schema level would neither keep nor heed, while one may still run.
    ///
    /// # Errors
    ///
    /// What is the matter and what to do, for whoever asked.
    pub fn require_level(&self, level: u32) -> Result<(), &'static str> {
        if self.schema_level() >= level {
            return Ok(());
        }
        Err(
            "a process of an earlier release runs in this deployment, or did a minute ago, and would not heed this: try again \
             a minute after all are upgraded (bowline status shows them)",
        )
    }

    /// Notes a schema level that is in use.
    pub(crate) fn note_level(&self, level: u32) {
        self.level.fetch_max(level, Ordering::Relaxed);
    }

    /// Returns the pool for single reading statements: `query(…).fetch_optional(database.reader())`.
    #[must_use]
    pub fn reader(&self) -> &AnyPool {
        &self.reader
    }

    /// Returns what asks whether the database answers.
    #[must_use]
    pub fn availability_check(&self) -> Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync> {
        let reader = self.reader.clone();
        Arc::new(move || {
            let reader = reader.clone();
            Box::pin(async move { sqlx::query("SELECT 1").execute(&reader).await.is_ok() })
        })
    }

    /// Begins a read-only transaction: all its queries see one state.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Unavailable`] when no connection is to be had.
    pub async fn begin_read(&self) -> Result<ReadTransaction, DatabaseError> {
        let begin = match self.dialect {
            SqlDialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            SqlDialect::Sqlite => "BEGIN",
        };
        let transaction = begin_transaction(&self.reader, self.dialect, begin).await?;
        Ok(ReadTransaction(transaction))
    }

    /// Runs `work` in a writing transaction, for what belongs to no tailnet; `Err` rolls back.
    ///
    /// Changes of a tailnet go through [`ChangeLog::mutate`](crate::ChangeLog::mutate).
    ///
    /// # Errors
    ///
    /// What `work` returns, or the database's error, [`DatabaseError::Unavailable`] after a commit of unknown fate.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut WriteTransaction) -> BoxFuture<'c, Result<T, E>> + Send,
        T: Send,
        E: From<DatabaseError> + Send,
    {
        let mut write = WriteTransaction::begin(self).await?;
        let value = work(&mut write).await?;
        write.commit().await?;
        Ok(value)
    }

    /// Returns the time that counts for expiry and audit.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Unavailable`] when the server can not be asked.
    pub async fn now(&self) -> Result<DateTime<Utc>, DatabaseError> {
        if self.time == TimeSource::Clock || self.dialect == SqlDialect::Sqlite {
            return Ok(self.clock.now());
        }
        let mut connection = self.reader.acquire().await?;
        self.now_on(&mut connection).await
    }

    /// Returns the expression that is this time in a statement, for whom a statement of its own is too much;
    /// [`Self::read_time`] reads it.
    #[must_use]
    pub fn time_sql(&self) -> &'static str {
        match (self.time, self.dialect) {
            (TimeSource::Server, SqlDialect::Postgres) => SERVER_TIME,
            _ => "CAST(NULL AS BIGINT)",
        }
    }

    /// Reads what a statement has returned for [`Self::time_sql`].
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Unavailable`] when the server's clock is beyond the calendar.
    pub fn read_time(&self, micros: Option<i64>) -> Result<DateTime<Utc>, DatabaseError> {
        micros.map_or_else(|| Ok(self.clock.now()), time_from_micros)
    }

    /// Begins a transaction that may write.
    pub(crate) fn begin_write(
        &self,
    ) -> BoxFuture<'_, Result<Transaction<'static, Any>, DatabaseError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let begin = match self.dialect {
                SqlDialect::Postgres => "BEGIN",
                // Without it two writers that began by reading would deadlock.
                SqlDialect::Sqlite => "BEGIN IMMEDIATE",
            };
            begin_transaction(&self.writer, self.dialect, begin).await
        })
    }

    pub(crate) async fn now_on(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<DateTime<Utc>, DatabaseError> {
        read_time(connection, self.time, &self.clock).await
    }

    /// Returns what watches over the epochs.
    pub(crate) fn epochs(&self) -> &Arc<EpochKeeper> {
        &self.epochs
    }
}

/// Returns the time that counts for expiry and audit.
pub(crate) async fn read_time(
    connection: &mut AnyConnection,
    source: TimeSource,
    clock: &SharedClock,
) -> Result<DateTime<Utc>, DatabaseError> {
    if source == TimeSource::Clock || SqlDialect::of(connection) == SqlDialect::Sqlite {
        return Ok(clock.now());
    }
    let query = sqlx::query_scalar(AssertSqlSafe(format!("SELECT {SERVER_TIME}")));
    time_from_micros(query.fetch_one(connection).await?)
}

fn time_from_micros(micros: i64) -> Result<DateTime<Utc>, DatabaseError> {
    from_micros(micros)
        .ok_or_else(|| DatabaseError::unavailable("the server's clock is beyond the calendar"))
}
