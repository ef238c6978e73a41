//! Backups: the tables of several databases in one file, that either kind of database can be made from.
//!
//! ```text
//! header ─▶ database ─▶ table ─▶ rows … table ─▶ rows … database … ─▶ files ─▶ end with a checksum
//! ```
//!
//! Each line is JSON, compressed with zstd. A backup is taken while the services run: of each database in one transaction. It is
//! of one moment for all schemas of one PostgreSQL database, and otherwise of moments in the order in which sources are opened.

mod file;
mod restore;
mod rows;
mod source;
mod tables;

pub use file::{BackupHeader, BackupReader, BackupWriter};
pub use restore::{RestoreTarget, UndoneEntry};
pub use source::BackupSource;

use crate::DatabaseError;

/// Why a backup could not be taken or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The database answered with an error, or not at all.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The file could not be read or written.
    #[error("the backup can not be read or written: {0}")]
    File(#[from] std::io::Error),
    /// The file is not a backup, or not whole.
    #[error("the file is not a whole backup: {0}")]
    Damaged(&'static str),
    /// A row or a file is longer than a backup holds.
    #[error("a row or a file of {0} bytes, as text, is longer than a backup holds (64 MiB)")]
    TooLong(usize),
    /// The backup, or a table in it, is of a release that this program does not know.
    #[error("the backup was made by a newer release ({0}): restore it with that one")]
    Newer(String),
    /// The database to restore into is in use.
    #[error(
        "{service} ran on the database {seconds} seconds ago: end all services, and try again 20 seconds later"
    )]
    InUse {
        /// The service.
        service: String,
        /// How long ago.
        seconds: i64,
    },
    /// The database to restore into is not empty.
    #[error(
        "{schema} is not empty: restore into an empty database, or replace what is there with --replace"
    )]
    NotEmpty {
        /// The schema.
        schema: String,
    },
    /// A table has a column of a kind that no release makes.
    #[error("table {table} has column {column} of kind {kind}, which is none of Bowline's")]
    Column {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What the database says of it.
        kind: String,
    },
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<serde_json::Error> for BackupError {
    fn from(_: serde_json::Error) -> Self {
        Self::Damaged("a line of it can not be understood")
    }
}
