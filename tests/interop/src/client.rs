//! A real client on a host of a test network: `tailscaled`, and `tailscale` to drive it.

mod release;
mod ssh;
mod stream;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

pub use self::release::{Device, Release};
pub use self::stream::LineStream;
use crate::{Host, Process, wait_for};

/// How many commands have a log of their own.
static LOGS: AtomicU32 = AtomicU32::new(0);

/// A running client.
#[derive(Debug)]
pub struct Client {
    /// Where it runs.
    pub host: Host,
    release: Release,
    device: Device,
    environment: Vec<(String, String)>,
    // Before the directory, which holds their logs.
    daemon: Option<Process>,
    echoes: Vec<Process>,
    directory: TempDir,
}

impl Client {
    /// Starts a client that knows no network yet, without a device of the kernel.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn start(host: Host, release: Release, environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(host, release, Device::Userspace, environment)
    }

    /// Starts a client of the current release with a TUN device.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn start_tun(host: Host) -> Result<Self> {
        Self::start_with(host, Release::Current, Device::Tun, &[])
    }

    fn start_with(
        host: Host,
        release: Release,
        device: Device,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut client = Self {
            host,
            release,
            device,
            environment: environment.iter().map(owned).collect(),
            daemon: None,
            echoes: Vec::new(),
            directory: tempfile::tempdir()?,
        };
        client.restart()?;
        // Its own first steps end here; 1.62.1 forgets a server it is told of before.
        client.wait_for_state("NeedsLogin", Duration::from_secs(20));
        Ok(client)
    }

    /// Starts a client on another host with a copy of the keys that this one has.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn copy(&self, host: Host) -> Result<Self> {
        let state = self.directory.path().join("tailscaled.state");
        Self::start_from(host, self.release, self.device, &self.environment, &state)
    }

    /// Starts a client with the state that another one has left in a file.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn restore(host: Host, release: Release, state: &Path) -> Result<Self> {
        Self::start_from(host, release, Device::Userspace, &[], state)
    }

    fn start_from(
        host: Host,
        release: Release,
        device: Device,
        environment: &[(String, String)],
        state: &Path,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::copy(state, directory.path().join("tailscaled.state"))?;
        let mut client = Self {
            host,
            release,
            device,
            environment: environment.to_vec(),
            daemon: None,
            echoes: Vec::new(),
            directory,
        };
        client.restart()?;
        Ok(client)
    }

    /// Starts it again with the keys it has, after `kill -9` if it runs.
    ///
    /// # Errors
    ///
    /// When it can not be started.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon = None;
        let path = self.directory.path();
        let (socket, resolvers) = (path.join("s"), path.join("resolv.conf"));
        drop(fs::remove_file(&socket));
        let program = self.release.directory().join("tailscaled");
        let mut command = match self.device {
            Device::Userspace => {
                let mut command = self.host.command(program);
                command.arg("--tun=userspace-networking");
                command
            }
            // A client with a device may write the machine's list of resolvers: it gets one of its own.
            Device::Tun => {
                fs::write(&resolvers, "")?;
                let mut command = self.host.command("sh");
                command
                    .args(["-c", r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#])
                    .args([&resolvers, &program])
                    .arg("--tun=tailscale0");
                command
            }
        };
        command
            .args(["--port=41641", "--no-logs-no-support"])
            .arg(format!("--statedir={}", path.display()))
            .arg(format!("--socket={}", socket.display()))
            .env("HOME", path)
            .env("TS_DISABLE_PORTMAPPER", "1")
            .env("TS_PANIC_IF_HIT_MAIN_CONTROL", "1")
            .envs(self.environment.iter().cloned());
        self.daemon = Some(Process::start(&mut command, &path.join("tailscaled.log"))?);
        wait_for("the daemon listens", Duration::from_secs(20), || {
            socket
                .exists()
                .then_some(())
                .ok_or_else(|| "no socket".to_owned())
        });
        Ok(())
    }

    /// Returns what the daemon has written, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Returns how often the client has asked to be registered, by its own account.
    #[must_use]
    pub fn registrations(&self) -> usize {
        self.log().matches("RegisterReq: onode=").count()
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
        let mut arguments = vec!["up", &url, &key, &hostname, "--timeout=60s"];
        if self.device == Device::Tun {
            // The hosts have neither resolvers nor packet filters for it to change.
            arguments.extend(["--accept-dns=false", "--netfilter-mode=off"]);
        }
        self.run(&arguments).map(drop)
    }

    /// Joins with a key when a try before was refused with these words.
    ///
    /// The client goes on with that try until it is asked anew. A command that begins meanwhile may be told of the
    /// earlier refusal, and is then repeated, as a user would.
    ///
    /// # Errors
    ///
    /// What else the client says.
    pub fn join_after_refusal(
        &self,
        url: &str,
        key: &str,
        hostname: &str,
        refusal: &str,
    ) -> Result<()> {
        let limit = Duration::from_secs(20);
        let (joined, _) = wait_for("an answer to the new try", limit, || {
            match self.join(url, key, hostname) {
                Err(error) if error.to_string().contains(refusal) => Err(error.to_string()),
                joined => Ok(joined),
            }
        });
        joined
    }

    /// Begins to join without a key; returns the address to visit, and the command that waits for it.
    ///
    /// # Errors
    ///
    /// When no address is shown.
    pub fn begin_login(&self, url: &str, hostname: &str) -> Result<(String, Process)> {
        self.begin_login_with(url, hostname, &[])
    }

    /// The same, with more that the client asks for.
    ///
    /// # Errors
    ///
    /// When no address is shown.
    pub fn begin_login_with(
        &self,
        url: &str,
        hostname: &str,
        more: &[&str],
    ) -> Result<(String, Process)> {
        let (url, hostname) = (
            format!("--login-server={url}"),
            format!("--hostname={hostname}"),
        );
        let mut command = self.tailscale(&["up", &url, &hostname, "--timeout=120s"]);
        command.args(more);
        let waiting = Process::start(&mut command, &self.new_log())?;
        Ok((await_login_address(&waiting), waiting))
    }

    /// Returns a file for the output of one command.
    fn new_log(&self) -> PathBuf {
        let number = LOGS.fetch_add(1, Ordering::Relaxed);
        self.directory.path().join(format!("command-{number}.log"))
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

    /// Waits until the client is in a state; returns how long it took.
    pub fn wait_for_state(&self, expected: &str, limit: Duration) -> Duration {
        let (_, took) = wait_for(&format!("the state {expected}"), limit, || {
            let state = self.state();
            if state == expected {
                Ok(())
            } else {
                Err(state)
            }
        });
        took
    }

    /// Waits until a peer's answers come by a path, such as `10.77.0.12:41641` or `DERP(bowline)`.
    pub fn wait_for_path(&self, address: &str, expected: &str) {
        let arguments = [
            "ping",
            "--c=1",
            "--until-direct=false",
            "--timeout=5s",
            address,
        ];
        let what = format!("a pong via {expected}");
        wait_for(&what, Duration::from_secs(60), || {
            let said = self.run(&arguments).map_err(|error| error.to_string())?;
            let path = said
                .split_once(" via ")
                .and_then(|(_, path)| path.split_whitespace().next());
            if path == Some(expected) {
                Ok(())
            } else {
                Err(said)
            }
        });
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

    /// Returns the subnets a peer is the router of, sorted.
    #[must_use]
    pub fn routes_of(&self, name: &str) -> Vec<String> {
        let status = self.status().unwrap_or_default();
        let peers = status["Peer"]
            .as_object()
            .into_iter()
            .flat_map(|peers| peers.values());
        let peer = peers.into_iter().find(|peer| peer["HostName"] == name);
        let routes = peer.and_then(|peer| peer["PrimaryRoutes"].as_array());
        let mut routes: Vec<_> = routes
            .into_iter()
            .flatten()
            .filter_map(|route| route.as_str().map(str::to_owned))
            .collect();
        routes.sort();
        routes
    }

    /// Waits until the client's netmap is as it should be.
    pub fn wait_for_netmap(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        wait_for(what, Duration::from_secs(20), || {
            let text = self
                .run(&["debug", "netmap"])
                .map_err(|error| error.to_string())?;
            let netmap: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            if is_so(&netmap) { Ok(()) } else { Err(text) }
        });
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
        let address = match self.device {
            Device::Userspace => "127.0.0.1",
            Device::Tun => "0.0.0.0",
        };
        command.arg(format!("{address}:{port}"));
        let log = self.directory.path().join("echo.log");
        self.echoes.push(Process::start(&mut command, &log)?);
        Ok(())
    }

    /// Sends a line to a peer's TCP port through the tailnet and returns the answer.
    ///
    /// # Errors
    ///
    /// When there is none within five seconds.
    pub fn echo(&self, address: &str, port: u16, line: &str) -> Result<String> {
        self.echo_within(5, address, port, line)
    }

    /// The same with another time in seconds.
    ///
    /// # Errors
    ///
    /// When there is no answer in that time.
    pub fn echo_within(
        &self,
        seconds: u32,
        address: &str,
        port: u16,
        line: &str,
    ) -> Result<String> {
        let port = port.to_string();
        let inner = match self.device {
            Device::Userspace => self.tailscale(&["nc", address, &port]),
            // The kernel's own TCP.
            Device::Tun => {
                let mut inner = self.host.command("bash");
                let script =
                    r#"read -r line; exec 3<>"/dev/tcp/$0/$1"; echo "$line" >&3; head -n 1 <&3"#;
                inner.args(["-c", script, address, &port]);
                inner
            }
        };
        let mut command = Command::new("timeout");
        command
            .arg(seconds.to_string())
            .arg(inner.get_program())
            .args(inner.get_args())
            .env("HOME", self.directory.path());
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

/// Waits until a command shows the address of a login.
fn await_login_address(waiting: &Process) -> String {
    let limit = Duration::from_secs(30);
    let (address, _) = wait_for("the client shows an address", limit, || {
        let log = waiting.log();
        let found = log
            .split_whitespace()
            .find(|word| word.contains("/register/"));
        found.map(str::to_owned).ok_or(log.clone())
    });
    address
}
