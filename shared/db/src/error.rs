//! What can go wrong between a service and its database.

use std::sync::Arc;
use std::time::Duration;

/// Why the database did not do what it was asked. "Not found" is an `Option`, not an error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A unique constraint forbids the row.
    ///
    /// `constraint` is PostgreSQL's name for it, on SQLite too: `<table>_pkey` for a primary key,
    /// `<table>_<columns>_key` for `UNIQUE (columns)`. A unique index has to be named like the latter.
    #[error("the row exists already ({constraint})")]
    Conflict {
        /// The constraint's name.
        constraint: String,
    },
    /// A row holds a combination of values that can not be.
    #[error("row {row} of table {table} is inconsistent")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
    },
    /// The statement is wrong, or breaks a constraint other than uniqueness: a defect of the caller.
    #[error("the database refused a statement")]
    Query(#[source] Arc<sqlx::Error>),
    /// The database can not answer at present. Whether a write happened is not known: retry it only if that is safe.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// What was seen; for logs.
        reason: String,
        /// When trying again makes sense.
        retry_after: Duration,
    },
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseOpenError {
    /// The database answered with an error, or not at all.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The file could not be made.
    #[error("database file {path} can not be opened")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The schema has a migration under this number with another name.
    #[error(
        "schema {schema} has migration {number} as \"{found}\", this program as \"{expected}\": it belongs to another program"
    )]
    Foreign {
        /// The schema.
        schema: String,
        /// The migration's number.
        number: i64,
        /// The name in the schema.
        found: String,
        /// The name in this program.
        expected: &'static str,
    },
    /// A migration failed; the schema is as it was before it.
    #[error("migration {name} of schema {schema} did not apply")]
    Migration {
        /// The schema.
        schema: String,
        /// The migration.
        name: &'static str,
        /// What the database said.
        source: DatabaseError,
    },
    /// A newer release has written what this program can not read.
    #[error(
        "schema {schema} is in use at schema level {needed} and this program knows level {known}: start the newer release, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The schema.
        schema: String,
        /// The level that a program needs.
        needed: u32,
        /// The level of this program.
        known: u32,
    },
    /// The URL names no database this program can use.
    #[error("database URL must start with \"postgres://\" or \"sqlite://\"")]
    Url,
}

impl DatabaseError {
    /// Returns when trying again makes sense, `None` when it is of no use.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Returns the error of a database that can not answer, with the usual time to retry.
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            retry_after: Duration::from_secs(1),
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(refusal) if refusal.is_unique_violation() => Self::Conflict {
                constraint: constraint_name(refusal.as_ref()),
            },
            sqlx::Error::Database(refusal) if is_transient(refusal.as_ref()) => {
                Self::unavailable(refusal.message())
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::unavailable(error.to_string()),
            _ => Self::Query(Arc::new(error)),
        }
    }
}

/// Tells whether trying again may help, from an SQLSTATE (five characters) or an SQLite result code.
fn is_transient(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    let Some(code) = refusal.code() else {
        return false;
    };
    if code.len() == 5
        && refusal
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some()
    {
        // Connection, rollback (serialization, deadlock), resources, operator intervention (a statement's timeout
        // too), system error; and a lock that could not be had in time.
        return matches!(&code[..2], "08" | "40" | "53" | "57" | "58") || code == "55P03";
    }
    // Busy, locked, read-only (disk trouble), input/output error, corrupt, full, can not open: the low byte.
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}

fn constraint_name(refusal: &dyn sqlx::error::DatabaseError) -> String {
    if let Some(name) = refusal.constraint() {
        return name.to_owned();
    }
    sqlite_constraint(refusal.message(), refusal.code().as_deref())
}

/// Returns PostgreSQL's name for the constraint in SQLite's message `UNIQUE constraint failed: t.a, t.b`.
fn sqlite_constraint(message: &str, code: Option<&str>) -> String {
    let columns = message
        .rsplit_once(": ")
        .map_or(message, |(_, columns)| columns);
    if let Some(index) = columns.strip_prefix("index ") {
        return index.trim_matches('\'').to_owned();
    }
    let table = columns.split_once('.').map_or(columns, |(table, _)| table);
    // SQLITE_CONSTRAINT_PRIMARYKEY and SQLITE_CONSTRAINT_ROWID.
    if matches!(code, Some("1555" | "2579")) {
        return format!("{table}_pkey");
    }
    let mut name = table.to_owned();
    for column in columns
        .split(", ")
        .filter_map(|column| column.split_once('.'))
    {
        name.push('_');
        name.push_str(column.1);
    }
    name + "_key"
}

#[cfg(test)]
mod tests;
