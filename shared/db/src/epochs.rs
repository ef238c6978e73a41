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

use std::{
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Row as _, any::AnyRow};
use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};
use tracing::Instrument as _;

use crate::{
    Database, DatabaseError, DatabaseOptions, SqlDialect, database::postgres, from_micros,
};
use begin::begin_epoch;
pub(crate) use begin::may_have_been_given;

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
pub(crate) struct EpochKeeper {
    url: String,
    options: DatabaseOptions,
    base: watch::Sender<u64>,
    /// One task at a time begins an epoch.
    turn: Mutex<()>,
}

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an epoch may take to begin, in a database of many tailnets.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(600);

/// A time from which a database has not gone back to an earlier state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunEpoch {
    /// The number that revisions and identifiers given in it lie above.
    pub base: u64,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// Why it began; empty for the first.
    pub reason: String,
}

/// The newest epoch of a database.
#[derive(Clone, Debug)]
struct KnownEpoch {
    base: i64,
    /// Empty where the server did not tell.
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

    /// Begins an epoch if a connection leads to a PostgreSQL database that has moved, before anything is written on it. One to
    /// a standby is refused: it would outlive the promotion.
    pub(crate) async fn check_connection(
        self: Arc<Self>,
        connection: &mut AnyConnection,
    ) -> Result<(), DatabaseError> {
        if self.is_current(connection).await? {
            return Ok(());
        }
        // On a task of its own: who waits for the connection may give up before a large database is done.
        let keeper = Arc::clone(&self);
        #[expect(clippy::disallowed_methods, reason = "it is waited for here")]
        let beginning = tokio::spawn(async move { keeper.begin(EpochCause::Moved).await });
        beginning
            .await
            .map_err(|_| DatabaseError::unavailable("the check of the epoch ended abruptly"))??;
        // The address may lead to two servers while one takes over from the other.
        match self.is_current(connection).await? {
            true => Ok(()),
            false => Err(DatabaseError::unavailable(
                "the database server changed while its epoch was looked at",
            )),
        }
    }

    /// Says whether a connection leads to the newest epoch's place, and notes that epoch then.
    async fn is_current(&self, connection: &mut AnyConnection) -> Result<bool, DatabaseError> {
        let lineage = read_lineage(connection).await?;
        let epoch = read_epoch(connection).await?;
        let current = epoch.filter(|epoch| epoch.is_of(lineage.as_deref()));
        if let Some(epoch) = &current {
            self.note_base(epoch.base);
        }
        Ok(current.is_some())
    }

    async fn begin(&self, cause: EpochCause) -> Result<(), DatabaseError> {
        let _turn = self.turn.lock().await;
        let beginning = async {
            let connecting = timeout(CONNECT_TIMEOUT, AnyConnection::connect(&self.url));
            let mut connection = connecting
                .await
                .map_err(|_| DatabaseError::unavailable("no connection in time"))??;
            let setup = match SqlDialect::of(&connection) {
                SqlDialect::Postgres => format!(
                    "SET search_path TO {}; SET lock_timeout = '60s'; {}",
                    self.options.schema,
                    postgres::VANISHED_CLIENT
                ),
                SqlDialect::Sqlite => "PRAGMA busy_timeout = 5000".to_owned(),
            };
            sqlx::raw_sql(AssertSqlSafe(setup))
                .execute(&mut connection)
                .await?;
            self.begin_on(&mut connection, cause).await?;
            connection.close().await?;
            Ok(())
        };
        timeout(BEGIN_TIMEOUT, beginning)
            .await
            .map_err(|_| DatabaseError::unavailable("the epoch did not begin in time"))?
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

impl fmt::Debug for EpochKeeper {
    /// Without the URL, which has a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EpochKeeper")
            .field("base", &*self.base.borrow())
            .finish_non_exhaustive()
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

    /// Returns the epochs, oldest first.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn list_epochs(&self) -> Result<Vec<BegunEpoch>, DatabaseError> {
        let query = "SELECT base, began_at, reason FROM epochs ORDER BY base";
        let rows = sqlx::query(query).fetch_all(self.reader()).await?;
        let read = |row: &AnyRow| {
            let base = row.try_get::<i64, _>(0)?.cast_unsigned();
            let began_at = from_micros(row.try_get(1)?).ok_or(DatabaseError::Inconsistent {
                table: "epochs",
                row: "its time is beyond the calendar".to_owned(),
            });
            let reason: String = row.try_get(2)?;
            Ok(BegunEpoch {
                base,
                began_at: began_at?,
                // The first is not begun by anything.
                reason: if base == 0 { String::new() } else { reason },
            })
        };
        rows.iter().map(read).collect()
    }

    /// Looks whether the database has gone back, or another process has begun an epoch: connections that are kept do not tell.
    pub(crate) async fn refresh_epoch(&self) -> Result<(), DatabaseError> {
        let mut connection = self.reader().acquire().await?;
        Arc::clone(self.epochs())
            .check_connection(&mut connection)
            .await
    }

    /// Begins an epoch because a follower has what is not here, unless one has begun lately; nobody waits for that. The follower
    /// takes a snapshot, and another once the epoch has begun.
    pub(crate) fn begin_epoch_for_follower(&self) {
        let keeper = Arc::clone(self.epochs());
        if keeper.turn.try_lock().is_err() {
            return;
        }
        let beginning = async move {
            if let Err(error) = keeper.begin(EpochCause::FollowerAhead).await {
                tracing::warn!(%error, "a follower has what is not here, and no epoch can begin");
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a caller that gives up does not undo it, and the next looks again"
        )]
        tokio::spawn(beginning.in_current_span());
    }
}

/// Leaves behind, in the transaction under way, that a backup was restored that was taken at a time, in microseconds since 1970.
pub(crate) async fn mark_restored(
    connection: &mut AnyConnection,
    taken_at: i64,
) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO epochs (base, lineage, began_at, reason)
         SELECT COALESCE(MAX(base), 0), $1, $2, '' FROM epochs WHERE true
         ON CONFLICT (base) DO UPDATE SET lineage = excluded.lineage, began_at = excluded.began_at",
    )
    .bind(RESTORED)
    .bind(taken_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the PostgreSQL server's own number and its timeline; nothing where it does not tell.
async fn read_lineage(connection: &mut AnyConnection) -> Result<Option<String>, DatabaseError> {
    if SqlDialect::of(connection) == SqlDialect::Sqlite {
        return Ok(None);
    }
    let query = sqlx::query_scalar("SELECT CAST(CAST(pg_is_in_recovery() AS INT) AS BIGINT)");
    let is_standby: i64 = query.fetch_one(&mut *connection).await?;
    if is_standby == 1 {
        let text = "the database server is a standby that is not promoted";
        return Err(DatabaseError::unavailable(text));
    }
    let query = sqlx::query_scalar(
        "SELECT CAST((SELECT system_identifier FROM pg_control_system()) AS TEXT)
             || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    );
    match query.fetch_one(connection).await {
        Ok(lineage) => Ok(Some(lineage)),
        Err(error) => {
            static WARNED: Once = Once::new();
            WARNED.call_once(|| {
                tracing::warn!(%error, "the database server does not tell its timeline: that it was promoted shows only by its followers");
            });
            Ok(None)
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
