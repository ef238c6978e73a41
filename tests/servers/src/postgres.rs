//! A private PostgreSQL.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{binary, port};

/// The account that runs the server when the tests run as root, which PostgreSQL refuses.
const ACCOUNT: &str = "postgres";

/// A PostgreSQL of its own.
#[derive(Debug)]
pub struct PostgresServer {
    /// Where `initdb`, `postgres` and `psql` are.
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    has_fsync: bool,
    databases: AtomicU32,
    process: Option<Process>,
}

impl PostgresServer {
    /// Starts a PostgreSQL that does not sync to disk: fast, and it survives a kill of its processes all the same.
    /// `None` when it is not installed and `CI` does not ask for it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        Self::start_with_fsync(false)
    }

    /// Starts a PostgreSQL that syncs every commit to disk if `has_fsync`: for measurements.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_with_fsync(has_fsync: bool) -> Result<Option<Self>> {
        let Some(initdb) = binary::find("initdb")? else {
            return Ok(None);
        };
        // The real directory: a link may stand alone in `PATH`.
        let initdb = initdb.canonicalize()?;
        let programs = initdb
            .parent()
            .context("a program has a directory")?
            .to_owned();
        let (directory, port) = (TempDir::new()?, port::free()?);
        let databases = AtomicU32::new(0);
        let mut server = Self {
            programs,
            directory,
            port,
            has_fsync,
            databases,
            process: None,
        };
        server.initialise()?;
        server.restart()?;
        Ok(Some(server))
    }

    /// Starts a standby that follows this server.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_standby(&self) -> Result<Self> {
        let mut standby = Self {
            programs: self.programs.clone(),
            directory: TempDir::new()?,
            port: port::free()?,
            has_fsync: self.has_fsync,
            databases: AtomicU32::new(0),
            process: None,
        };
        standby.take_directory()?;
        let mut copy = standby.unprivileged("pg_basebackup")?;
        let from = format!("host=127.0.0.1 port={} user={ACCOUNT}", self.port);
        copy.args(["-d", &from, "-D", &standby.data(), "-R", "-X", "stream"]);
        finish(copy.args(["--checkpoint=fast", "--no-sync"]))?;
        standby.restart()?;
        Ok(standby)
    }

    /// Waits until this standby has all that a server has written.
    ///
    /// # Errors
    ///
    /// When it has not within ten seconds.
    pub fn catch_up_with(&self, primary: &Self) -> Result<()> {
        let end = primary.ask_server("SELECT pg_current_wal_flush_lsn()")?;
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
        self.wait_until(&question)
    }

    /// Ends what this standby follows: what is written from here on it does not get.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub fn stop_following(&self) -> Result<()> {
        self.sql("ALTER SYSTEM SET primary_conninfo = ''")?;
        self.sql("SELECT pg_reload_conf()")?;
        self.wait_until("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)")
    }

    /// Kills this server and promotes a standby, which answers at this server's address from then on.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn replace_by_standby(&mut self, mut standby: Self) -> Result<()> {
        self.kill9();
        standby.sql("SELECT pg_promote(true, 30)")?;
        standby.port = self.port;
        standby.databases = AtomicU32::new(self.databases.load(Ordering::Relaxed));
        standby.restart()?;
        *self = standby;
        Ok(())
    }

    fn wait_until(&self, question: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.ask_server(question)? != "t" {
            if Instant::now() > deadline {
                bail!("after ten seconds it is not so: {question}");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns the server that the tests of this process share; it ends with the last who holds it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn shared() -> Result<Option<Arc<Self>>> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(Some(server));
        }
        let server = Self::start()?.map(Arc::new);
        *shared = server.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Ok(server)
    }

    /// Makes an empty database and returns its URL: a test has one for itself.
    ///
    /// # Errors
    ///
    /// When the server does not run.
    pub fn new_database(&self) -> Result<String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name}"))?;
        Ok(format!(
            "postgres://{ACCOUNT}@127.0.0.1:{}/{name}",
            self.port
        ))
    }

    /// Asks a question in a database; returns the answer as text.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub fn ask(&self, url: &str, question: &str) -> Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-qXtA", "-v", "ON_ERROR_STOP=1", "-c", question, url]);
        Ok(String::from_utf8(finish(&mut psql)?)?.trim().to_owned())
    }

    fn ask_server(&self, question: &str) -> Result<String> {
        let url = format!("postgres://{ACCOUNT}@127.0.0.1:{}/postgres", self.port);
        self.ask(&url, question)
    }

    /// Runs statements as the superuser, in the database `postgres`.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub fn sql(&self, statements: &str) -> Result<()> {
        let url = format!("postgres://{ACCOUNT}@127.0.0.1:{}/postgres", self.port);
        let mut psql = Command::new(self.programs.join("psql"));
        finish(psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-c", statements, &url])).map(drop)
    }

    /// Returns the statements that make a database anew, without what depends on the version of the server.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub fn dump(&self, url: &str) -> Result<String> {
        let mut dump = Command::new(self.programs.join("pg_dump"));
        dump.args([
            "--format=plain",
            "--inserts",
            "--no-owner",
            "--no-privileges",
        ]);
        let statements = String::from_utf8(finish(dump.arg(url))?)?;
        let unwanted = [
            "SET ",
            "SELECT pg_catalog.set_config",
            "\\restrict",
            "\\unrestrict",
        ];
        let is_kept = |line: &&str| !unwanted.iter().any(|start| line.starts_with(start));
        let kept = statements.lines().filter(is_kept);
        Ok(kept.flat_map(|line| [line, "\n"]).collect())
    }

    /// Runs the statements of a [`dump`](Self::dump) in a database.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub fn load(&self, url: &str, statements: &str) -> Result<()> {
        let file = self.directory.path().join("load.sql");
        fs::write(&file, statements)?;
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-qX",
            "-1",
            "-v",
            "ON_ERROR_STOP=1",
            "-o",
            "/dev/null",
            "-f",
        ]);
        finish(psql.arg(file).arg(url)).map(drop)
    }

    /// Kills the server at once; what was committed is recovered at the next start.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Starts the server, again if it runs (a fast shutdown first), with its databases and port.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal("-INT")?;
            process.wait()?;
        }
        // After a kill the old server's children may hold its memory for a moment.
        let process = self.run().or_else(|_| {
            sleep(Duration::from_secs(1));
            self.run()
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn run(&self) -> Result<Process> {
        let fsync = if self.has_fsync {
            "fsync=on"
        } else {
            "fsync=off"
        };
        let sockets = format!(
            "unix_socket_directories={}",
            self.directory.path().display()
        );
        let mut command = self.unprivileged("postgres")?;
        command.args([
            "-D",
            &self.data(),
            "-p",
            &self.port.to_string(),
            "-c",
            fsync,
        ]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", &sockets]);
        command.args(["-c", "max_connections=300", "-c", "restart_after_crash=off"]);
        let log = self.directory.path().join("log");
        Process::start(command, &log, || self.sql("SELECT 1").is_ok())
    }

    fn take_directory(&self) -> Result<()> {
        self.give_to_account(self.directory.path()).map(drop)
    }

    /// Gives a directory to the account that servers run under when the tests run as root; returns that account.
    pub(crate) fn give_to_account(&self, directory: &Path) -> Result<Option<&'static str>> {
        if !is_root()? {
            return Ok(None);
        }
        finish(Command::new("chown").args(["-R", ACCOUNT]).arg(directory))?;
        Ok(Some(ACCOUNT))
    }

    fn initialise(&self) -> Result<()> {
        self.take_directory()?;
        let mut initdb = self.unprivileged("initdb")?;
        finish(initdb.args([
            "-D",
            &self.data(),
            "-U",
            ACCOUNT,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
        ]))
        .map(drop)
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    /// Returns a command under an account that is not root. The process started becomes the program itself, so that
    /// its number is the one to signal.
    fn unprivileged(&self, program: &str) -> Result<Command> {
        let account = is_root()?.then_some(ACCOUNT);
        let mut command = mortal(&self.programs.join(program), account);
        command
            .current_dir(self.directory.path())
            .env("LC_ALL", "C.UTF-8");
        Ok(command)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // An immediate shutdown takes the server's children along.
        if let Some(mut process) = self.process.take() {
            drop(process.signal("-QUIT").and_then(|()| process.wait()));
        }
    }
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata(Path::new("/proc/self"))?.uid() == 0)
}

fn finish(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
