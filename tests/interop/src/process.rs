//! A process of a test: its output kept, ended by its id when dropped.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command; its output goes to a file.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Returns its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to end, as `kill` does.
    ///
    /// # Errors
    ///
    /// When it can not be asked.
    pub fn terminate(&self) -> Result<()> {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        anyhow::ensure!(status.success(), "kill: {status}");
        Ok(())
    }

    /// Says whether it has ended, and well.
    pub fn has_ended(&mut self) -> Option<bool> {
        let status = self.child.try_wait().ok().flatten();
        status.map(|status| status.success())
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            println!("--- {}", self.log.display());
            tail.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}
