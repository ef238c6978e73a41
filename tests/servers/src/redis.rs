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
}

impl RedisServer {
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
        let log = self.directory.path().join("log");
        self.process = Some(Process::start(command, &log, || {
            pong(port).unwrap_or(false)
        })?);
        Ok(())
    }
}

fn pong(port: u16) -> Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(answer == *b"+PONG\r\n")
}
