//! State that real headscale servers have left, for tests that move it here.
//!
//! Each directory of `recorded/` is of one release: the settings file, the database as SQL, the key, and the policy where it
//! was in a file. The nodes `laptop`, `phone`, `server`, `runner` and `tablet` were real clients of release 1.102.5, `tablet`
//! logged in by an identity provider; headscale's own commands made the others. `0.29/clients` has the state of its clients.
//! All keys in there were made for this.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow};
use bowline_test_servers::PostgresServer;
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tempfile::TempDir;

/// A release whose state was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadscaleRelease {
    /// 0.26.1 on SQLite, with a policy file.
    V26,
    /// 0.27.1 on PostgreSQL, with its policy in there.
    V27,
    /// 0.28.0 on SQLite, with its policy in there.
    V28,
    /// 0.29.2 on SQLite, with 50 nodes and a policy file.
    V29,
}

impl HeadscaleRelease {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V26, Self::V27, Self::V28, Self::V29];

    fn directory(self) -> PathBuf {
        let name = match self {
            Self::V26 => "0.26",
            Self::V27 => "0.27",
            Self::V28 => "0.28",
            Self::V29 => "0.29",
        };
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        own.join("recorded").join(name)
    }
}

/// The state of a headscale server that was stopped.
#[derive(Debug)]
pub struct HeadscaleState {
    release: HeadscaleRelease,
    directory: TempDir,
    // Kept for its end.
    _postgres: Option<Arc<PostgresServer>>,
}

impl HeadscaleState {
    /// Puts the recorded state into a directory and a database of its own; `None` where PostgreSQL is needed and missing.
    ///
    /// # Errors
    ///
    /// When it can not be written.
    pub fn restore(release: HeadscaleRelease) -> Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let recorded = release.directory();
        for name in ["noise_private.key", "policy.hujson"] {
            let from = recorded.join(name);
            if from.exists() {
                fs::copy(from, directory.path().join(name))?;
            }
        }
        let statements = fs::read_to_string(recorded.join("database.sql"))?;
        let mut config = fs::read_to_string(recorded.join("config.yaml"))?;
        let mut postgres = None;
        if release == HeadscaleRelease::V27 {
            let Some(server) = PostgresServer::shared()? else {
                return Ok(None);
            };
            let url = server.new_database()?;
            server.load(&url, &statements)?;
            config = with_database(&config, &url)?;
            postgres = Some(server);
        } else {
            write_sqlite(directory.path().join("db.sqlite"), statements)?;
        }
        fs::write(directory.path().join("config.yaml"), config)?;
        Ok(Some(Self {
            release,
            directory,
            _postgres: postgres,
        }))
    }

    /// Returns a file of the server.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the settings file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.file("config.yaml")
    }

    /// Returns the state of a client, as its `tailscaled` left it.
    #[must_use]
    pub fn client(&self, name: &str) -> PathBuf {
        let clients = self.release.directory().join("clients");
        clients.join(format!("{name}.state"))
    }
}

/// Runs statements on a new database. It has a thread, because it is called from tests with and without a runtime.
#[expect(clippy::disallowed_methods, reason = "this crate is only for tests")]
fn write_sqlite(path: PathBuf, statements: String) -> Result<()> {
    let write = move || {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async move {
            sqlx::any::install_default_drivers();
            let url = format!("sqlite://{}?mode=rwc", path.display());
            let mut connection = AnyConnection::connect(&url).await?;
            let script = sqlx::raw_sql(sqlx::AssertSqlSafe(statements));
            connection.execute(script).await?;
            Ok(connection.close().await?)
        })
    };
    let written = std::thread::spawn(write).join();
    written.map_err(|_| anyhow!("the thread that writes panicked"))?
}

/// Returns the settings with the address of another PostgreSQL, `postgres://USER@HOST:PORT/NAME`.
fn with_database(config: &str, url: &str) -> Result<String> {
    let rest = url
        .strip_prefix("postgres://")
        .context("the form of a URL")?;
    let (user, rest) = rest.split_once('@').context("a user")?;
    let (place, name) = rest.split_once('/').context("a database")?;
    let (host, port) = place.split_once(':').context("a port")?;
    let user = user.split(':').next().unwrap_or(user);
    let name = name.split('?').next().unwrap_or(name);
    let line = |line: &str| {
        let (key, _) = line.trim_start().split_once(": ").unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        match (indent.len(), key) {
            (4, "host") => format!("{indent}host: {host}"),
            (4, "port") => format!("{indent}port: {port}"),
            (4, "name") => format!("{indent}name: {name}"),
            (4, "user") => format!("{indent}user: {user}"),
            _ => line.to_owned(),
        }
    };
    Ok(config.lines().map(line).collect::<Vec<_>>().join("\n"))
}
