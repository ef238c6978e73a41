//! A private store that speaks S3 and checks signatures: s3s-fs, whose buckets are directories.

use std::env;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{port, report_skipped};

/// A store of its own, with one bucket and one account.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    directory: TempDir,
    _process: Process,
}

impl S3Server {
    /// The bucket.
    pub const BUCKET: &'static str = "heads";
    /// The account's id.
    pub const ACCESS_KEY: &'static str = "bowline-tests";
    /// Its secret.
    pub const SECRET_KEY: &'static str = "hidden-from-others";

    /// Starts a store; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// `tests/run` builds it into the directory that `S3S_DIR` names.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start() -> Result<Option<Self>> {
        let program = env::var_os("S3S_DIR").map(|place| PathBuf::from(place).join("bin/s3s-fs"));
        let Some(program) = program.filter(|program| program.is_file()) else {
            report_skipped("s3s-fs is not installed, see tests/run")?;
            return Ok(None);
        };
        let directory = TempDir::new()?;
        let root = directory.path().join("store");
        fs::create_dir_all(root.join(Self::BUCKET))?;
        let port = port::free()?;
        let mut command = mortal(&program, None);
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", Self::ACCESS_KEY])
            .args(["--secret-key", Self::SECRET_KEY])
            .arg(&root);
        let log = directory.path().join("log");
        let is_open = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let process = Process::start(command, &log, is_open)?;
        Ok(Some(Self {
            port,
            directory,
            _process: process,
        }))
    }

    /// Returns the store's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the directory with the objects of the bucket, by their names.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.directory.path().join("store").join(Self::BUCKET)
    }
}
