//! A private Ory Hydra: an OpenID Connect provider that knows no people, and is told by another program who has logged in.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{PostgresServer, port, report_skipped};

/// How long it takes to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Hydra of its own, with a database of the shared PostgreSQL.
#[derive(Debug)]
pub struct HydraServer {
    public_port: u16,
    admin_port: u16,
    _process: Process,
    _directory: TempDir,
    _postgres: Arc<PostgresServer>,
}

impl HydraServer {
    /// Starts a Hydra that asks a URL at each refresh what a person's claims are by then; `None` when it is not installed and
    /// `CI` does not ask for it.
    ///
    /// `tests/run --all` builds it into the directory that `HYDRA_DIR` names.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(refresh_hook: &str) -> Result<Option<Self>> {
        let Some(program) = installed() else {
            report_skipped("Hydra is not installed, see tests/run")?;
            return Ok(None);
        };
        let Some(postgres) = PostgresServer::shared()? else {
            return Ok(None);
        };
        let database = format!("{}?sslmode=disable", postgres.new_database()?);
        migrate(&program, &database)?;
        let (directory, public_port, admin_port) = (TempDir::new()?, port::free()?, port::free()?);
        let issuer = format!("http://127.0.0.1:{public_port}");
        let settings = directory.path().join("settings.json");
        // No variable can say this.
        let hook = format!(r#"{{"oauth2": {{"refresh_token_hook": "{refresh_hook}"}}}}"#);
        fs::write(&settings, hook)?;
        let mut command = mortal(&program, None);
        command.args(["serve", "all", "--dev", "--config"]);
        // Nobody serves the three pages: a test answers for them.
        command.arg(&settings).envs([
            ("DSN", &*database),
            ("SERVE_PUBLIC_HOST", "127.0.0.1"),
            ("SERVE_PUBLIC_PORT", &public_port.to_string()),
            ("SERVE_ADMIN_HOST", "127.0.0.1"),
            ("SERVE_ADMIN_PORT", &admin_port.to_string()),
            ("URLS_SELF_ISSUER", &issuer),
            ("URLS_LOGIN", &format!("{issuer}/pages/login")),
            ("URLS_CONSENT", &format!("{issuer}/pages/consent")),
            ("URLS_LOGOUT", &format!("{issuer}/pages/logout")),
            ("SECRETS_SYSTEM", "a secret of more than 16 letters"),
            ("LOG_LEVEL", "warn"),
            ("SQA_OPT_OUT", "true"),
        ]);
        let log = directory.path().join("log");
        let process = Process::start_within(PATIENCE, command, &log, || {
            [public_port, admin_port]
                .into_iter()
                .all(|port| port::answers(port, "/health/ready").unwrap_or(false))
        })?;
        Ok(Some(Self {
            public_port,
            admin_port,
            _process: process,
            _directory: directory,
            _postgres: postgres,
        }))
    }

    /// Returns its issuer, which is its origin.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.public_port)
    }

    /// Returns where it is told what to do.
    #[must_use]
    pub fn admin_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }
}

fn installed() -> Option<PathBuf> {
    let program = PathBuf::from(env::var_os("HYDRA_DIR")?).join("hydra");
    program.is_file().then_some(program)
}

fn migrate(program: &Path, database: &str) -> Result<()> {
    let output = Command::new(program)
        .args(["migrate", "sql", "up", "-e", "--yes"])
        .envs([("DSN", database), ("SQA_OPT_OUT", "true")])
        .output()?;
    ensure!(output.status.success(), "hydra migrate: {output:?}");
    Ok(())
}
