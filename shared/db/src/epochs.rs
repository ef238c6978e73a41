//! Databases that go back to an earlier state: one restored from a backup, or a standby promoted without the end of its log.
//!
//! ```text
//! each new connection; a follower that has what is not here; a restore ─▶ a new epoch
//!     ─▶ revisions and identifiers go on above a base that is higher than all that was given before
//!     ─▶ followers find no entry after their position, and take a snapshot
//! ```
//!
//! So no revision means two things, and no identifier is given twice, although nobody knows what was lost. The base grows with
//! time: what an earlier epoch gave lies below it, also where one backup is restored twice.

mod begin;

use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _};
use tokio::sync::{Mutex, watch};

use crate::{Database, DatabaseError, DatabaseOptions, SqlDialect};
use begin::begin_epoch;

/// The lineage that a restore leaves behind: the next process to open the database begins an epoch.
pub(crate) const RESTORED: &str = "restored";

/// Why an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpochCause {
    /// The database is restored, or on another server, or on another timeline of it, than when the newest epoch began. Without
    /// that it begins none.
    Moved,
    /// A follower has what is not here. It begins none soon after another.
    FollowerAhead,
}

/// Watches over the epochs of one database. Its connections share it.
#[derive(Debug)]
pub(crate) struct EpochKeeper {
    url: String,
    options: DatabaseOptions,
    base: watch::Sender<u64>,
    /// One task at a time begins an epoch.
    turn: Mutex<()>,
}

/// The newest epoch of a database.
#[derive(Clone, Debug)]
struct KnownEpoch {
    base: i64,
    lineage: String,
    began_at: i64,
}

impl EpochKeeper {
    pub(crate) fn new(url: &str, options: &DatabaseOptions) -> Self {
        Self {
            url: url.to_owned(),
            options: options.clone(),
            base: watch::Sender::new(0),
            turn: Mutex::default(),
        }
    }

    /// Begins an epoch on this connection if there is a cause.
    pub(crate) async fn begin_on(
        &self,
        connection: &mut AnyConnection,
        cause: EpochCause,
    ) -> Result<(), DatabaseError> {
        let base = begin_epoch(connection, &self.options, cause).await?;
        self.note_base(base);
        Ok(())
    }

    /// Begins an epoch if a new connection leads to a PostgreSQL database that has moved. It is called before anything is
    /// written on the connection, and no connection outlives a promotion.
    pub(crate) async fn check_connection(
        self: Arc<Self>,
        connection: &mut AnyConnection,
    ) -> Result<(), DatabaseError> {
        let lineage = read_lineage(connection).await;
        if let Some(epoch) = read_epoch(connection).await?
            && epoch.is_of(lineage.as_deref())
        {
            self.note_base(epoch.base);
            return Ok(());
        }
        // On a task of its own: who waits for the connection may give up before a large database is done.
        #[expect(clippy::disallowed_methods, reason = "it is waited for here")]
        let beginning = tokio::spawn(async move { self.begin(EpochCause::Moved).await });
        beginning
            .await
            .map_err(|_| DatabaseError::unavailable("the check of the epoch ended abruptly"))?
    }

    async fn begin(&self, cause: EpochCause) -> Result<(), DatabaseError> {
        let _turn = self.turn.lock().await;
        let mut connection = AnyConnection::connect(&self.url).await?;
        let setup = match SqlDialect::of(&connection) {
            SqlDialect::Postgres => format!("SET search_path TO {}", self.options.schema),
            SqlDialect::Sqlite => "PRAGMA busy_timeout = 5000".to_owned(),
        };
        sqlx::raw_sql(AssertSqlSafe(setup))
            .execute(&mut connection)
            .await?;
        self.begin_on(&mut connection, cause).await?;
        connection.close().await?;
        Ok(())
    }

    fn note_base(&self, base: i64) {
        let base = base.cast_unsigned();
        self.base.send_if_modified(|known| {
            let is_news = *known < base;
            *known = base.max(*known);
            is_news
        });
    }
}

impl KnownEpoch {
    /// Says whether the database is where the epoch began, as far as the server tells.
    fn is_of(&self, lineage: Option<&str>) -> bool {
        self.lineage != RESTORED && lineage.is_none_or(|lineage| lineage == self.lineage)
    }
}

impl Database {
    /// Follows the base of the newest epoch: when it changes the database has gone back, and what was derived from it, or
    /// from others for it, has to be derived again.
    #[must_use]
    pub fn watch_epoch(&self) -> watch::Receiver<u64> {
        self.epochs().base.subscribe()
    }

    /// Looks whether another process has begun an epoch.
    pub(crate) async fn refresh_epoch(&self) -> Result<(), DatabaseError> {
        let mut connection = self.reader().acquire().await?;
        if let Some(epoch) = read_epoch(&mut connection).await? {
            self.epochs().note_base(epoch.base);
        }
        Ok(())
    }

    /// Begins an epoch because a follower has what is not here, unless one has begun lately.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn begin_epoch_for_follower(&self) -> Result<(), DatabaseError> {
        self.epochs().begin(EpochCause::FollowerAhead).await
    }
}

/// Leaves behind, in the transaction under way, that a backup was restored.
pub(crate) async fn mark_restored(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO epochs (base, lineage, began_at, reason)
         SELECT COALESCE(MAX(base), 0), $1, 0, '' FROM epochs WHERE true
         ON CONFLICT (base) DO UPDATE SET lineage = excluded.lineage",
    )
    .bind(RESTORED)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the PostgreSQL server's own number and its timeline; nothing where it does not tell.
async fn read_lineage(connection: &mut AnyConnection) -> Option<String> {
    if SqlDialect::of(connection) == SqlDialect::Sqlite {
        return None;
    }
    let query = sqlx::query_scalar(
        "SELECT CAST((SELECT system_identifier FROM pg_control_system()) AS TEXT)
             || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    );
    match query.fetch_one(connection).await {
        Ok(lineage) => Some(lineage),
        Err(error) => {
            tracing::debug!(%error, "the server does not tell its timeline");
            None
        }
    }
}

async fn read_epoch(connection: &mut AnyConnection) -> Result<Option<KnownEpoch>, DatabaseError> {
    let query = "SELECT base, lineage, began_at FROM epochs ORDER BY base DESC LIMIT 1";
    let Some(row) = sqlx::query(query).fetch_optional(connection).await? else {
        return Ok(None);
    };
    Ok(Some(KnownEpoch {
        base: row.try_get(0)?,
        lineage: row.try_get(1)?,
        began_at: row.try_get(2)?,
    }))
}
