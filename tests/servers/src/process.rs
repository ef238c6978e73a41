//! A child process that ends with its handle.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take until it answers, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a server that logs to a file, and waits until it answers.
    pub(crate) fn start(
        command: &mut Command,
        log: &Path,
        answers: impl Fn() -> bool,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        let mut process = Self(child);
        let deadline = Instant::now() + PATIENCE;
        while !answers() {
            if let Some(status) = process.0.try_wait()? {
                bail!("server ended with {status}:\n{}", fs::read_to_string(log)?);
            }
            if Instant::now() > deadline {
                bail!("server does not answer:\n{}", fs::read_to_string(log)?);
            }
            sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill")
            .arg(name)
            .arg(self.0.id().to_string())
            .status()?;
        if !status.success() {
            bail!("kill {name} {} ended with {status}", self.0.id());
        }
        Ok(())
    }

    /// Waits for the end of a process that was signalled.
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
