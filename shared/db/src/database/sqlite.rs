//! Opening a SQLite file: one writing connection, several readers, a write-ahead log, full sync.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::any::AnyPoolOptions;

use super::{DatabaseOptions, OpenedPools};
use crate::{
    DatabaseError, DatabaseOpenError,
    epochs::{EpochCause, EpochKeeper},
    migration,
};

// What statements put aside stays in memory: the directory of the file may be the only one that can be written.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
     PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";
// The system keeps the file's pages for all: a reader's own copies, 2,000 KiB by default, would only grow with the age of the process.
const READER: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; \
     PRAGMA cache_size = -256";

pub(super) async fn open(
    path: &str,
    options: &DatabaseOptions,
    epochs: &EpochKeeper,
) -> Result<OpenedPools, DatabaseOpenError> {
    create_file(path).map_err(|source| DatabaseOpenError::File {
        path: path.to_owned(),
        source,
    })?;
    let url = format!("sqlite://{path}");
    let writer = open_pool(&url, 1, WRITER).await?;
    let mut connection = writer.acquire().await.map_err(DatabaseError::from)?;
    let level = migration::migrate(&mut connection, path, options).await?;
    epochs.begin_on(&mut connection, EpochCause::Moved).await?;
    drop(connection);
    let reader = open_pool(&url, options.connections, READER).await?;
    Ok(OpenedPools {
        writer,
        reader,
        level,
    })
}

/// Makes the file where there is none. SQLite gives its log files the mode of that file, so it is made first.
pub(crate) fn create_file(path: &str) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    Ok(())
}

async fn open_pool(url: &str, size: u32, setup: &'static str) -> Result<AnyPool, DatabaseError> {
    let pool = AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(5))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(setup).execute(connection).await.map(drop) })
        })
        .connect(url)
        .await?;
    Ok(pool)
}
