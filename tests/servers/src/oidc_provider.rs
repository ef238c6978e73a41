//! A private OpenID Connect provider: the package `oidc-provider` for Node.

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

/// An OpenID Connect provider of its own. It lets in whoever says a name.
#[derive(Debug)]
pub struct OidcProviderServer {
    port: u16,
    _process: Process,
    _directory: TempDir,
}

impl OidcProviderServer {
    /// Starts a provider; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// `tests/run` puts it into the directory that `OIDC_PROVIDER_DIR` names.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let Some(packages) = find_packages() else {
            report_skipped("oidc-provider is not installed, see tests/run")?;
            return Ok(None);
        };
        let (directory, port) = (TempDir::new()?, port::free()?);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oidc-provider.mjs");
        let mut command = mortal(Path::new("node"), None);
        command.arg(program).arg(packages).arg(port.to_string());
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

    /// Returns its issuer, which is its origin.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn find_packages() -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os("OIDC_PROVIDER_DIR")?);
    directory
        .join("node_modules/oidc-provider")
        .is_dir()
        .then_some(directory)
}
