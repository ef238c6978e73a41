//! A private Pebble: the certificate authority with which Let's Encrypt tests clients, and the name server that goes with it.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{port, report_skipped};

/// How a [`PebbleServer`] proves hosts, and what it issues.
#[derive(Clone, Copy, Debug)]
pub struct PebbleOptions {
    /// The port at which it looks at TLS-ALPN-01 answers.
    pub tls_port: u16,
    /// The port at which it looks at HTTP-01 answers.
    pub http_port: u16,
    /// For how long its certificates are valid, in seconds.
    pub validity_seconds: u64,
}

/// A Pebble of its own, for which every name has the address 127.0.0.1.
#[derive(Debug)]
pub struct PebbleServer {
    port: u16,
    management_port: u16,
    directory: TempDir,
    _authority: Process,
    _names: Process,
}

impl PebbleServer {
    /// Starts a Pebble; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// `tests/run` builds it into the directory that `PEBBLE_DIR` names.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(options: PebbleOptions) -> Result<Option<Self>> {
        let Some(programs) = installed() else {
            report_skipped("Pebble is not installed, see tests/run")?;
            return Ok(None);
        };
        let directory = TempDir::new()?;
        let (names_port, names) = start_names(&programs, directory.path())?;
        let (port, management_port) = (port::free()?, port::free()?);
        write_settings(directory.path(), port, management_port, options)?;
        let mut command = mortal(&programs.join("pebble"), None);
        command
            .arg("-config")
            .arg(directory.path().join("settings.json"))
            .arg(format!("-dnsserver=127.0.0.1:{names_port}"))
            // It looks at answers at once, and at each order's anew.
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")]);
        let log = directory.path().join("log");
        let authority =
            Process::start(command, &log, || is_open(port) && is_open(management_port))?;
        Ok(Some(Self {
            port,
            management_port,
            directory,
            _authority: authority,
            _names: names,
        }))
    }

    /// Returns a port that nobody listens on at the moment, for what Pebble is to look at.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn free_port() -> Result<u16> {
        port::free()
    }

    /// Returns where clients begin.
    #[must_use]
    pub fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Returns the authority (PEM) of its own addresses.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("own.pem")
    }

    /// Returns where it tells the authority (PEM) of the certificates that it issues.
    #[must_use]
    pub fn root_url(&self) -> String {
        format!("https://127.0.0.1:{}/roots/0", self.management_port)
    }

    /// Returns how many orders it was given.
    ///
    /// # Errors
    ///
    /// When its log can not be read.
    pub fn count_orders(&self) -> Result<usize> {
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        Ok(log.matches("Added order ").count())
    }
}

fn installed() -> Option<PathBuf> {
    let directory = PathBuf::from(env::var_os("PEBBLE_DIR")?);
    let programs = ["pebble", "pebble-challtestsrv"];
    let are_there = programs.iter().all(|name| directory.join(name).is_file());
    are_there.then_some(directory)
}

fn start_names(programs: &Path, directory: &Path) -> Result<(u16, Process)> {
    let (port, management_port) = (port::free()?, port::free()?);
    let mut command = mortal(&programs.join("pebble-challtestsrv"), None);
    command.args([
        "-http01=",
        "-https01=",
        "-tlsalpn01=",
        "-doh=",
        "-defaultIPv6=",
    ]);
    command.arg(format!("-dnsserver=127.0.0.1:{port}"));
    command.arg(format!("-management=127.0.0.1:{management_port}"));
    let names = Process::start(command, &directory.join("names.log"), || is_open(port))?;
    Ok((port, names))
}

fn write_settings(
    directory: &Path,
    port: u16,
    management_port: u16,
    options: PebbleOptions,
) -> Result<()> {
    let key = KeyPair::generate()?;
    let own = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
    let (certificate, key_file) = (directory.join("own.pem"), directory.join("own.key"));
    fs::write(&certificate, own.pem())?;
    fs::write(&key_file, key.serialize_pem())?;
    let PebbleOptions {
        tls_port,
        http_port,
        validity_seconds,
    } = options;
    let settings = format!(
        r#"{{"pebble": {{
            "listenAddress": "127.0.0.1:{port}", "managementListenAddress": "127.0.0.1:{management_port}",
            "certificate": "{}", "privateKey": "{}", "httpPort": {http_port}, "tlsPort": {tls_port},
            "keyAlgorithm": "ecdsa", "retryAfter": {{"authz": 1, "order": 1}},
            "profiles": {{"default": {{"description": "for tests", "validityPeriod": {validity_seconds}}}}}
        }}}}"#,
        certificate.display(),
        key_file.display(),
    );
    fs::write(directory.join("settings.json"), settings)?;
    Ok(())
}

fn is_open(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
