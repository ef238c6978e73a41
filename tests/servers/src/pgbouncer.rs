//! A private pgbouncer in front of a PostgreSQL.

use std::fs;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{
    PostgresServer, binary, port,
    process::{Process, mortal},
};

/// A pgbouncer of its own, in session mode.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts one that leads to a database.
    ///
    /// # Errors
    ///
    /// When it is not installed, or does not come up.
    pub fn start(server: &PostgresServer, url: &str) -> Result<Self> {
        let program = binary::find_beside("pgbouncer", "/usr/sbin")?;
        let program = program.context("pgbouncer is not installed")?;
        let (directory, port) = (TempDir::new()?, port::free()?);
        let target = url.rsplit_once('@').context("a URL with an account")?.1;
        let (address, database) = target.split_once('/').context("a URL with a database")?;
        let (host, upstream) = address.split_once(':').context("a URL with a port")?;
        let accounts = directory.path().join("accounts");
        fs::write(&accounts, "\"postgres\" \"\"\n")?;
        let settings = format!(
            "[databases]\n{database} = host={host} port={upstream} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = session\n\
             ignore_startup_parameters = extra_float_digits\n",
            accounts.display()
        );
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, settings)?;
        let account = server.give_to_account(directory.path())?;
        let mut command = mortal(&program, account);
        command.arg(file);
        let own = format!("postgres://postgres@127.0.0.1:{port}/{database}");
        let log = directory.path().join("log");
        let process = Process::start(command, &log, || server.ask(&own, "SELECT 1").is_ok())?;
        Ok(Self {
            port,
            _process: process,
            _directory: directory,
        })
    }

    /// Returns the URL of a database behind it.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let database = url.rsplit_once('/').map_or("", |(_, database)| database);
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
