//! The published Rust client on a host of a test network; `tests/rust-client` makes a program of it.

use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use crate::{Host, Process};

/// A running Rust client.
#[derive(Debug)]
pub struct RustClient {
    process: Process,
    _directory: TempDir,
}

fn program() -> PathBuf {
    let named = std::env::var_os("BOWLINE_RUST_CLIENT").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let home = std::env::var_os("HOME")
            .map(PathBuf::from)
            .unwrap_or_default();
        home.join(".cache/bowline/rust-client/debug/bowline-rust-client")
    })
}

/// Says whether the program is there.
pub(crate) fn is_built() -> bool {
    program().is_file()
}

impl RustClient {
    /// Starts a client that joins with a key and answers on TCP port 7000.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn start(host: &Host, url: &str, key: &str, hostname: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = host.command(program());
        command
            .args([url, key, hostname])
            .env("HOME", directory.path());
        let process = Process::start(&mut command, &directory.path().join("rust-client.log"))?;
        Ok(Self {
            process,
            _directory: directory,
        })
    }

    /// Returns its address once it has joined.
    #[must_use]
    pub fn address(&self) -> Option<String> {
        let log = self.log();
        log.lines()
            .find(|line| line.starts_with("100."))
            .map(str::to_owned)
    }

    /// Returns what it has written.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
