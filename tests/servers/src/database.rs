//! A database of either kind.

use std::sync::Arc;

use anyhow::Result;
use tempfile::TempDir;

use crate::PostgresServer;

/// An empty database that a test has for itself. Clones are the same one.
#[derive(Clone, Debug)]
pub enum TestDatabase {
    /// SQLite: a directory, with one file for each owner.
    Sqlite(Arc<TempDir>),
    /// PostgreSQL: a database of the shared server, with one schema for each owner.
    Postgres {
        /// Where it is.
        url: String,
        /// The server lives as long.
        server: Arc<PostgresServer>,
    },
}

impl TestDatabase {
    /// Makes an empty directory for SQLite.
    ///
    /// # Errors
    ///
    /// When it can not be made.
    pub fn sqlite() -> Result<Self> {
        Ok(Self::Sqlite(Arc::new(TempDir::new()?)))
    }

    /// Makes a PostgreSQL database; `None` when no server is installed and `CI` does not ask for it.
    ///
    /// # Errors
    ///
    /// When the server does not come up.
    pub fn postgres() -> Result<Option<Self>> {
        let Some(server) = PostgresServer::shared()? else {
            return Ok(None);
        };
        let url = server.new_database()?;
        Ok(Some(Self::Postgres { url, server }))
    }

    /// Returns the URL under which an owner opens it.
    #[must_use]
    pub fn url(&self, owner: &str) -> String {
        match self {
            Self::Sqlite(directory) => {
                format!("sqlite://{}", directory.path().join(owner).display())
            }
            Self::Postgres { url, .. } => url.clone(),
        }
    }

    /// Returns how a statement past the owner names one of its tables.
    #[must_use]
    pub fn table(&self, schema: &str, table: &str) -> String {
        match self {
            Self::Sqlite(_) => table.to_owned(),
            Self::Postgres { .. } => format!("{schema}.{table}"),
        }
    }
}
