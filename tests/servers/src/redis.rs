//! A private Redis.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{binary, port};

/// A Redis of its own, empty at the start, without persistence.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    process: Option<Process>,
    /// Where the server is that this one copies.
    master: Option<u16>,
}

/// A process that watches a Redis with its copies, and names the master.
#[derive(Debug)]
pub struct RedisSentinel {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl RedisSentinel {
    /// Starts one that watches a server under the name `hints`, and makes a copy of it the master a second after it is gone.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(master: &RedisServer) -> Result<Self> {
        let (directory, port) = (TempDir::new()?, port::free()?);
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor hints 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds hints 1000\nsentinel failover-timeout hints 5000\n",
            directory.path().display(),
            master.port
        );
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings)?;
        let mut command = mortal(&master.program, None);
        command.arg(file).arg("--sentinel");
        let log = directory.path().join("log");
        // Without a copy that it knows it has nothing to make the master.
        let process = Process::start(command, &log, || {
            let copies = ask(port, "SENTINEL replicas hints");
            copies.is_ok_and(|copies| copies.starts_with("*1"))
        })?;
        Ok(Self {
            port,
            _process: process,
            _directory: directory,
        })
    }

    /// Returns the URL of the master, as it names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/hints", self.port)
    }
}

impl RedisServer {
    /// Starts a copy of a server.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_copy(&self) -> Result<Self> {
        let mut copy = Self {
            program: self.program.clone(),
            directory: TempDir::new()?,
            port: port::free()?,
            process: None,
            master: Some(self.port),
        };
        copy.restart()?;
        Ok(copy)
    }

    /// Starts a Redis; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let Some(mut server) = Self::stopped()? else {
            return Ok(None);
        };
        server.restart()?;
        Ok(Some(server))
    }

    /// Returns a Redis that does not run yet, with its port: [`restart`](Self::restart) starts it.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn stopped() -> Result<Option<Self>> {
        let Some(program) = binary::find("redis-server")? else {
            return Ok(None);
        };
        let (directory, port) = (TempDir::new()?, port::free()?);
        Ok(Some(Self {
            program,
            directory,
            port,
            process: None,
            master: None,
        }))
    }

    /// Returns the URL to connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the address to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kills the server at once.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Stops the server from answering, with its connections open (SIGSTOP).
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| process.signal("-STOP"))
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| process.signal("-CONT"))
    }

    /// Starts the server, again if it runs, on the same port.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9();
        let port = self.port;
        let mut command = mortal(&self.program, None);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.directory.path());
        if let Some(master) = self.master {
            command.args(["--replicaof", "127.0.0.1", &master.to_string()]);
        }
        let log = self.directory.path().join("log");
        let is_copy = self.master.is_some();
        self.process = Some(Process::start(command, &log, || {
            let has_copied = || {
                let told = ask(port, "INFO replication");
                told.is_ok_and(|told| told.contains("master_link_status:up"))
            };
            pong(port).unwrap_or(false) && (!is_copy || has_copied())
        })?);
        Ok(())
    }
}

fn pong(port: u16) -> Result<bool> {
    Ok(ask(port, "PING")?.starts_with("+PONG"))
}

/// Returns the beginning of what a server answers to a command.
fn ask(port: u16, command: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
