//! A child process that ends with its handle.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take until it answers, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a server that logs to a file, and waits until it answers.
    pub(crate) fn start(command: Command, log: &Path, answers: impl Fn() -> bool) -> Result<Self> {
        Self::start_within(PATIENCE, command, log, answers)
    }

    /// The same for a server that takes longer.
    pub(crate) fn start_within(
        patience: Duration,
        mut command: Command,
        log: &Path,
        answers: impl Fn() -> bool,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let what = format!("{command:?} does not start");
        let mut process = Self(spawn_mortal(command).context(what)?);
        let deadline = Instant::now() + patience;
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

/// Returns a command that the kernel kills when the test process ends, however it ends; [`spawn_mortal`] starts it.
#[must_use]
pub fn mortal(program: &Path, account: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(account) = account {
        command.args(["--reuid", account, "--regid", account, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a child from a thread that lives as long as the test process: the kernel ties the child to its thread.
///
/// # Errors
///
/// When it does not start.
pub fn spawn_mortal(command: Command) -> Result<Child> {
    type Order = (Command, SyncSender<std::io::Result<Child>>);
    static LAUNCHER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (sender, orders) = sync_channel::<Order>(0);
        thread::spawn(move || {
            for (mut command, answer) in orders {
                drop(answer.send(command.spawn()));
            }
        });
        sender
    });
    let (sender, answer) = sync_channel(1);
    launcher.send((command, sender))?;
    Ok(answer.recv()??)
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
