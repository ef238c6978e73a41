//! A real client on a host of a lab: `tailscaled` without TUN device, and `tailscale` to drive it.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Host, Process, wait_for};

/// Which release of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 1.102.5.
    Current,
    /// 1.62.1: the last that speaks crypto_box.
    Nacl,
}

impl Release {
    fn directory(self) -> PathBuf {
        let peers = std::env::var_os("BOWLINE_PEERS_DIR")
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                let home = std::env::var_os("HOME")
                    .map(PathBuf::from)
                    .unwrap_or_default();
                home.join(".cache/bowline/peers")
            });
        peers.join(match self {
            Self::Current => "1.102.5",
            Self::Nacl => "1.62.1",
        })
    }

    /// Says whether the programs are there.
    #[must_use]
    pub fn is_built(self) -> bool {
        ["tailscaled", "tailscale"]
            .iter()
            .all(|program| self.directory().join(program).is_file())
    }
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    /// Where it runs.
    pub host: Host,
    release: Release,
    // Before the directory, which holds their logs.
    _daemon: Process,
    _echo: Option<Process>,
    directory: TempDir,
}

impl Client {
    /// Starts a client that knows no network yet.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn start(host: Host, release: Release, environment: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        let mut command = host.command(release.directory().join("tailscaled"));
        command
            .args([
                "--tun=userspace-networking",
                "--port=41641",
                "--no-logs-no-support",
            ])
            .arg(format!("--statedir={}", path.display()))
            .arg(format!("--socket={}", path.join("s").display()))
            .env("HOME", path)
            .env("TS_DISABLE_PORTMAPPER", "1")
            .env("TS_PANIC_IF_HIT_MAIN_CONTROL", "1")
            .envs(environment.iter().copied());
        let daemon = Process::start(&mut command, &path.join("tailscaled.log"))?;
        wait_for("the daemon listens", Duration::from_secs(20), || {
            path.join("s")
                .exists()
                .then_some(())
                .ok_or_else(|| "no socket".to_owned())
        });
        Ok(Self {
            host,
            release,
            directory,
            _daemon: daemon,
            _echo: None,
        })
    }

    fn tailscale(&self, arguments: &[&str]) -> Command {
        let mut command = self
            .host
            .command(self.release.directory().join("tailscale"));
        command.arg(format!(
            "--socket={}",
            self.directory.path().join("s").display()
        ));
        command.args(arguments).env("HOME", self.directory.path());
        command
    }

    /// Runs `tailscale` and returns what it printed.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.tailscale(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("tailscale {arguments:?}: {text}");
        }
        Ok(text)
    }

    /// Joins with a key.
    ///
    /// # Errors
    ///
    /// What the client says.
    pub fn join(&self, url: &str, key: &str, hostname: &str) -> Result<()> {
        let (url, key) = (format!("--login-server={url}"), format!("--authkey={key}"));
        let hostname = format!("--hostname={hostname}");
        self.run(&["up", &url, &key, &hostname, "--timeout=60s"])
            .map(drop)
    }

    /// Begins to join without a key; returns the address to visit, and the command that waits for it.
    ///
    /// # Errors
    ///
    /// When no address is shown.
    pub fn begin_login(&self, url: &str, hostname: &str) -> Result<(String, Process)> {
        let log = self.directory.path().join("up.log");
        let (url, hostname) = (
            format!("--login-server={url}"),
            format!("--hostname={hostname}"),
        );
        let mut command = self.tailscale(&["up", &url, &hostname, "--timeout=120s"]);
        let waiting = Process::start(&mut command, &log)?;
        let (address, _) = wait_for(
            "the client shows an address",
            Duration::from_secs(30),
            || {
                let log = waiting.log();
                let found = log
                    .split_whitespace()
                    .find(|word| word.contains("/register/"));
                found.map(str::to_owned).ok_or(log.clone())
            },
        );
        Ok((address, waiting))
    }

    /// Returns `tailscale status --json`.
    ///
    /// # Errors
    ///
    /// What the client says.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&["status", "--json"])?)?)
    }

    /// Returns the state: `Running`, `NeedsLogin`, ….
    #[must_use]
    pub fn state(&self) -> String {
        let status = self.status().unwrap_or_default();
        status["BackendState"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Returns the names of the peers the client knows.
    #[must_use]
    pub fn peers(&self) -> Vec<String> {
        let status = self.status().unwrap_or_default();
        let peers = status["Peer"].as_object().cloned().unwrap_or_default();
        let name = |peer: &Value| peer["HostName"].as_str().map(str::to_owned);
        let mut names: Vec<_> = peers.values().filter_map(name).collect();
        names.sort();
        names
    }

    /// Waits until the client knows exactly these peers; returns how long it took.
    pub fn wait_for_peers(&self, expected: &[&str], limit: Duration) -> Duration {
        let (_, took) = wait_for(&format!("peers {expected:?}"), limit, || {
            let peers = self.peers();
            if peers == expected {
                Ok(())
            } else {
                Err(format!("{peers:?}"))
            }
        });
        took
    }

    /// Returns the client's own IPv4 address.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn ipv4(&self) -> Result<String> {
        let status = self.status()?;
        let address = status["Self"]["TailscaleIPs"][0]
            .as_str()
            .context("no address")?;
        Ok(address.to_owned())
    }

    /// Answers lines on a TCP port of the client.
    ///
    /// # Errors
    ///
    /// When it can not.
    pub fn serve_echo(&mut self, program: &str, port: u16) -> Result<()> {
        let mut command = self.host.command(program);
        command.arg(port.to_string());
        let log = self.directory.path().join("echo.log");
        self._echo = Some(Process::start(&mut command, &log)?);
        Ok(())
    }

    /// Sends a line to a peer's TCP port through the tailnet and returns the answer.
    ///
    /// # Errors
    ///
    /// When there is none within five seconds.
    pub fn echo(&self, address: &str, port: u16, line: &str) -> Result<String> {
        let mut command = Command::new("timeout");
        let inner = self.tailscale(&["nc", address, &port.to_string()]);
        command
            .arg("5")
            .arg(inner.get_program())
            .args(inner.get_args());
        command.env("HOME", self.directory.path());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        writeln!(input, "{line}")?;
        let mut answer = String::new();
        let output = child.stdout.take().context("no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut answer)?;
        drop(child.kill());
        drop(child.wait());
        if answer.is_empty() {
            bail!("no answer from {address}:{port}");
        }
        Ok(answer.trim_end().to_owned())
    }
}
