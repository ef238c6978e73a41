//! A headscale server to compare with: SQLite, plain HTTP, a policy in the database, and no relay.

#![expect(
    clippy::disallowed_methods,
    reason = "whoever starts a server waits for a program, and no task of the runtime with it"
)]

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bowline_test_servers::{mortal, spawn_mortal};

/// How long it may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked whether it does.
const PAUSE: Duration = Duration::from_millis(10);

/// The relays that clients are told of: one that nobody reaches. Without any it does not start.
const RELAYS: &str = "regions:\n  900:\n    regionid: 900\n    regioncode: load\n    regionname: load\n    nodes:\n      \
                      - { name: 900a, regionid: 900, hostname: derp.load.test, ipv4: 127.0.0.1, stunport: -1, derpport: 1 }\n";

/// A running headscale in a directory of its own.
#[derive(Debug)]
pub struct HeadscaleServer {
    program: PathBuf,
    directory: PathBuf,
    /// Where clients connect.
    pub address: SocketAddr,
    process: Option<Child>,
}

impl HeadscaleServer {
    /// Starts a server in a new directory.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(program: &Path, directory: &Path) -> Result<Self> {
        let address = free_address()?;
        let settings = settings(directory, address, free_address()?, free_address()?);
        fs::write(directory.join("config.yaml"), settings)?;
        fs::write(directory.join("derp.yaml"), RELAYS)?;
        let mut server = Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            address,
            process: None,
        };
        server.run()?;
        Ok(server)
    }

    /// Kills it and starts it again.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn crash(&mut self) -> Result<()> {
        self.kill();
        self.run()
    }

    /// Makes a token for the interface for programs.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn make_token(&self) -> Result<String> {
        let output = self
            .command(&["--output", "json", "apikeys", "create"])
            .output()?;
        let said =
            String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "headscale apikeys create: {said}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn run(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("headscale.log"))?;
        let mut serve = self.command(&["serve"]);
        serve
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.process = Some(spawn_mortal(serve)?);
        let deadline = Instant::now() + PATIENCE;
        // Its socket is there once all of it serves.
        while std::net::TcpStream::connect(self.address).is_err()
            || !self.directory.join("headscale.sock").exists()
        {
            let log = || fs::read_to_string(self.directory.join("headscale.log"));
            let ended = self.process.as_mut().map(Child::try_wait);
            let has_ended = ended.transpose()?.flatten().is_some();
            ensure!(!has_ended, "headscale ended: {}", log()?);
            ensure!(Instant::now() < deadline, "headscale is late: {}", log()?);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = mortal(&self.program, None);
        command
            .arg("--config")
            .arg(self.directory.join("config.yaml"))
            .args(arguments);
        command
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

impl Drop for HeadscaleServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr()?)
}

/// Returns settings with nothing changed that speed depends on: those it has without any are kept.
fn settings(
    directory: &Path,
    address: SocketAddr,
    metrics: SocketAddr,
    grpc: SocketAddr,
) -> String {
    let file = |name: &str| directory.join(name).display().to_string();
    format!(
        "server_url: http://{address}\nlisten_addr: {address}\nmetrics_listen_addr: {metrics}\ngrpc_listen_addr: {grpc}\n\
         noise: {{ private_key_path: {} }}\n\
         prefixes: {{ v4: 100.64.0.0/10, v6: \"fd7a:115c:a1e0::/48\" }}\n\
         derp: {{ server: {{ enabled: false }}, urls: [], paths: [{}], auto_update_enabled: false }}\n\
         disable_check_updates: true\n\
         database: {{ type: sqlite, sqlite: {{ path: {}, write_ahead_log: true }} }}\n\
         log: {{ level: warn }}\npolicy: {{ mode: database }}\n\
         dns: {{ magic_dns: true, base_domain: load.test, override_local_dns: false, nameservers: {{ global: [] }} }}\n\
         unix_socket: {}\nlogtail: {{ enabled: false }}\n",
        file("noise_private.key"),
        file("derp.yaml"),
        file("db.sqlite"),
        file("headscale.sock"),
    )
}
