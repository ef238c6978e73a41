//! A private SAML identity provider: the package `samlp` for Node.

use std::{
    env,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{port, report_skipped};

/// How long it takes to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many keys it has, one after the other.
const KEYS: usize = 2;

/// A SAML identity provider of its own. It lets in whoever says a name.
#[derive(Debug)]
pub struct SamlpServer {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl SamlpServer {
    /// Starts a provider; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// `tests/run` puts it into the directory that `SAMLP_DIR` names.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let Some(packages) = find_packages() else {
            report_skipped("samlp is not installed, see tests/run")?;
            return Ok(None);
        };
        let (directory, port) = (TempDir::new()?, port::free()?);
        for number in 1..=KEYS {
            make_key(directory.path(), number)?;
        }
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/samlp.mjs");
        let mut command = mortal(Path::new("node"), None);
        command
            .arg(program)
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
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns where its metadata is.
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!("{}/metadata", self.origin())
    }
}

fn find_packages() -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os("SAMLP_DIR")?);
    directory
        .join("node_modules/samlp")
        .is_dir()
        .then_some(directory)
}

fn make_key(directory: &Path, number: usize) -> Result<()> {
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=provider", "-keyout"])
        .arg(directory.join(format!("key-{number}.pem")))
        .arg("-out")
        .arg(directory.join(format!("certificate-{number}.pem")))
        .output()?;
    ensure!(output.status.success(), "openssl: {output:?}");
    Ok(())
}
