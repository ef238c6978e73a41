//! A provider that is a package for Node, behind a small program of ours.

use std::{
    env,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{port, report_skipped};

/// How long it takes to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs, with a directory of its own.
#[derive(Debug)]
pub(crate) struct NodeServer {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl NodeServer {
    /// Starts the program of a package; `None` when the package is not installed and `CI` does not ask for it. `tests/run` puts
    /// it into the directory that a variable names. The program is told where that is, a port, and a directory that `prepare`
    /// has filled.
    pub(crate) fn start(
        package: &str,
        variable: &str,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Option<Self>> {
        let Some(packages) = find_packages(package, variable) else {
            report_skipped(&format!("{package} is not installed, see tests/run"))?;
            return Ok(None);
        };
        let (directory, port) = (TempDir::new()?, port::free()?);
        prepare(directory.path())?;
        let program = format!("src/{package}.mjs");
        let mut command = mortal(Path::new("node"), None);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program))
            .arg(packages)
            .arg(port.to_string())
            .arg(directory.path());
        let log = directory.path().join("log");
        let process = Process::start_within(PATIENCE, command, &log, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        Ok(Some(Self {
            port,
            _process: process,
            _directory: directory,
        }))
    }

    /// Returns where it is reached.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn find_packages(package: &str, variable: &str) -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os(variable)?);
    let is_there = directory.join("node_modules").join(package).is_dir();
    is_there.then_some(directory)
}
