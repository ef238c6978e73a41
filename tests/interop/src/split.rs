//! The services as separate processes: PostgreSQL, Redis, mTLS, two gateways.
//!
//! Everything but the clients shares the server's namespace, so a test of this runs inside it: see [`inside`].

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bowline_test_servers::{PostgresServer, RedisServer};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Host, Process, Server, Sessions, TestNetwork,
    samples::{change_sample, read_sample},
    server::program,
    wait_for,
};

/// The variable in which the names of hosts travel to the test inside; `BOWLINE_` begins settings of servers.
const HOSTS: &str = "TEST_HOSTS_OF_CLIENTS";

/// Returns the clients' hosts inside the server's namespace, or runs the named test there and returns `None`; also `None`
/// where real clients can not run.
///
/// # Panics
///
/// When the test inside fails.
#[must_use]
pub fn inside(test: &str, clients: usize) -> Option<Vec<Host>> {
    if let Ok(hosts) = std::env::var(HOSTS) {
        return Some(hosts.split(' ').filter_map(Host::from_text).collect());
    }
    let network = TestNetwork::new().expect("a network of namespaces")?;
    let server = network.host().expect("the server's host");
    let hosts: Vec<_> = (0..clients)
        .map(|_| network.host().expect("a client's host").to_text())
        .collect();
    let own = std::env::current_exe().expect("this program");
    let mut command = server.command(own);
    command
        .args([test, "--exact", "--nocapture"])
        .env(HOSTS, hosts.join(" "));
    let output = command.output().expect("the test inside starts");
    // Indented: what counts results must not count the test inside as another one.
    let said = [output.stdout, output.stderr]
        .map(|text| String::from_utf8_lossy(&text).replace('\n', "\n  | "))
        .concat();
    assert!(
        output.status.success(),
        "inside the server's namespace: {said}"
    );
    println!("inside the server's namespace: {said}");
    None
}

/// The processes of a scaled deployment.
#[derive(Debug)]
pub struct Split {
    processes: BTreeMap<&'static str, Process>,
    /// The database.
    pub postgres: PostgresServer,
    /// Where hints travel.
    pub redis: RedisServer,
    database: String,
    drain_seconds: u32,
    /// Where the programs of another release are that services run from here on.
    release: Option<PathBuf>,
    directory: TempDir,
}

/// Administers a deployment, while it is changed, too.
#[derive(Clone, Debug)]
pub struct Administrator {
    certificates: PathBuf,
}

/// The services, with the port each is called at.
const OWNERS: [(&str, u16); 3] = [
    ("identity", 7101),
    ("key-registry", 7102),
    ("policy-compiler", 7103),
];
/// The gateways, with the port clients connect to; health is asked for a thousand below.
const GATEWAYS: [(&str, u16); 2] = [("gateway-1", 8081), ("gateway-2", 8082)];

/// How far above a gateway's port its administration address is.
const ADMIN_OFFSET: u16 = 1000;

impl Split {
    /// Starts everything and makes a first tailnet with a user.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn start() -> Result<Self> {
        Self::start_with_drain(3)
    }

    /// Starts everything, with the time in seconds that a process which is asked to end may take.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn start_with_drain(drain_seconds: u32) -> Result<Self> {
        let mut split = Self::prepare(drain_seconds)?;
        split.create("control-keys")?;
        split.create("sealing-key")?;
        split.start_all()?;
        split.bowline(&["tailnets", "create", "home"])?;
        split.bowline(&["users", "create", "owner@home", "--role", "owner"])?;
        Ok(split)
    }

    /// Ends a server of one process, moves everything to a database, and starts the services on it. The server has to have the
    /// address of the first gateway.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn start_moved(mut server: Server) -> Result<Self> {
        let mut split = Self::prepare(3)?;
        server.kill9();
        let files = split.path("moved");
        let files = files.to_str().context("a path that is text")?;
        let url = split.database.clone();
        server.bowline(&["migrate-deployment", "--database", &url, "--files", files])?;
        for moved in ["control-keys", "sealing-key"] {
            fs::rename(Path::new(files).join(moved), split.path(moved))?;
        }
        split.start_all()?;
        Ok(split)
    }

    /// Starts the servers that the services need, and makes their certificates.
    fn prepare(drain_seconds: u32) -> Result<Self> {
        let postgres = PostgresServer::start()?.context("PostgreSQL is not installed")?;
        let split = Self {
            processes: BTreeMap::new(),
            redis: RedisServer::start()?.context("Redis is not installed")?,
            database: postgres.new_database()?,
            postgres,
            drain_seconds,
            release: None,
            directory: tempfile::tempdir()?,
        };
        split.create("certificates")?;
        Ok(split)
    }

    fn create(&self, what: &str) -> Result<()> {
        let output = Command::new(program("bowline")?)
            .args([what, "create"])
            .arg(self.path(what))
            .output()?;
        if !output.status.success() {
            bail!("{what}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn start_all(&mut self) -> Result<()> {
        for (service, _) in OWNERS {
            self.start_service(service)?;
        }
        self.start_service("relay")?;
        for (gateway, _) in GATEWAYS {
            self.start_service(gateway)?;
        }
        wait_for("the services answer", Duration::from_secs(30), || {
            self.bowline(&["tailnets", "list"])
                .map_err(|error| error.to_string())
        });
        Ok(())
    }

    /// Returns the URL of a gateway, 1 or 2.
    #[must_use]
    pub fn url(&self, gateway: usize) -> String {
        format!("http://10.77.0.1:{}", GATEWAYS[gateway - 1].1)
    }

    /// Returns the URL of the services' database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database
    }

    /// Returns where a gateway, 1 or 2, takes administrators' tokens, without TLS.
    #[must_use]
    pub fn admin_address(&self, gateway: usize) -> String {
        format!("127.0.0.1:{}", GATEWAYS[gateway - 1].1 + ADMIN_OFFSET)
    }

    /// Returns the map sessions that a gateway, 1 or 2, has had with a node over all its starts.
    #[must_use]
    pub fn sessions(&self, gateway: usize, node: u64) -> Sessions {
        let process = self.processes.get(GATEWAYS[gateway - 1].0);
        let log = process.map(Process::log).unwrap_or_default();
        Sessions::of(node, &log)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the settings of a service: the sample that operators are given, for the places of this test.
    fn settings(&self, service: &str, telemetry: u16) -> Result<String> {
        let quoted = |value: &dyn Display| Some(format!("\"{value}\""));
        let path = |name: &str| quoted(&self.path(name).display());
        let kind = match service.starts_with("gateway") {
            true => "netmap-gateway",
            false => service,
        };
        let health = GATEWAYS.map(|(name, port)| (name, port - 1000));
        let mut listen = OWNERS.iter().chain(&health);
        let listen = listen.find(|(name, _)| *name == service);
        let (_, port) = listen.context("unknown service")?;
        let mut changes = vec![
            ("listen", quoted(&format!("127.0.0.1:{port}"))),
            ("redis", quoted(&self.redis.url())),
            ("drain_seconds", Some(self.drain_seconds.to_string())),
            ("certificates.authority", path("certificates/ca.pem")),
            (
                "certificates.certificate",
                path(&format!("certificates/{kind}.pem")),
            ),
            (
                "certificates.key",
                path(&format!("certificates/{kind}.key")),
            ),
            (
                "telemetry.listen",
                quoted(&format!("127.0.0.1:{telemetry}")),
            ),
            ("telemetry.log_filter", quoted(&"info,bowline=debug")),
        ];
        for (called, key, port) in [
            ("identity", "identity", 7101),
            ("key-registry", "key_registry", 7102),
            ("policy-compiler", "policy_compiler", 7103),
        ] {
            if kind == "netmap-gateway" || kind != "identity" && kind != called {
                changes.push((key, Some(format!("[\"127.0.0.1:{port}\"]"))));
            }
        }
        if kind == "identity" {
            let key = fs::read_to_string(self.path("sealing-key"))?;
            changes.push(("service.sealing_key", quoted(&key.trim())));
            let networks = "[\"127.0.0.0/8\"]".to_owned();
            changes.push(("service.provider_networks", Some(networks)));
        }
        match GATEWAYS.iter().find(|(name, _)| *name == service) {
            None => changes.push(("database", quoted(&self.database))),
            Some((_, port)) => changes.extend([
                ("service.listen", quoted(&format!("10.77.0.1:{port}"))),
                (
                    "service.public_url",
                    quoted(&format!("http://10.77.0.1:{port}")),
                ),
                (
                    "admin.listen",
                    quoted(&format!("127.0.0.1:{}", port + ADMIN_OFFSET)),
                ),
                ("service.certificate_file", None),
                ("service.key_file", None),
                ("service.control_keys", path("control-keys")),
                ("service.derp_map_file", path("derp.json")),
            ]),
        }
        change_sample(read_sample(kind)?, &changes)
    }

    /// Starts a service, a gateway or the relay, again after `kill -9` if it runs.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn start_service(&mut self, service: &'static str) -> Result<()> {
        self.processes.remove(service);
        if service == "relay" {
            return self.start_relay();
        }
        let names: Vec<_> = OWNERS
            .iter()
            .chain(&GATEWAYS)
            .map(|(name, _)| *name)
            .collect();
        let place = names
            .iter()
            .position(|name| *name == service)
            .context("unknown service")?;
        let settings = self.settings(service, 9100 + u16::try_from(place)?)?;
        let file = self.path(&format!("{service}.toml"));
        fs::write(&file, settings)?;
        let binary = if service.starts_with("gateway") {
            "netmap-gateway"
        } else {
            service
        };
        let mut command = Command::new(self.service_program(&format!("bowline-{binary}"))?);
        command.arg("--config").arg(file);
        let process = Process::start(&mut command, &self.path(&format!("{service}.log")))?;
        self.processes.insert(service, process);
        Ok(())
    }

    fn start_relay(&mut self) -> Result<()> {
        let certificates = self.path("certificates");
        let mut command = Command::new(self.service_program("bowline")?);
        command
            .args(["relay", "--host", "10.77.0.1", "--listen", "10.77.0.1:8444"])
            .args([
                "--stun-listen",
                "10.77.0.1:3478",
                "--key-registry",
                "127.0.0.1:7102",
                "--identity",
                "127.0.0.1:7101",
            ])
            .arg("--state-dir")
            .arg(self.directory.path())
            .arg("--ca")
            .arg(certificates.join("ca.pem"))
            .arg("--cert")
            .arg(certificates.join("relay.pem"))
            .arg("--key")
            .arg(certificates.join("relay.key"))
            .arg("--map")
            .arg(self.path("derp.json"));
        let process = Process::start(&mut command, &self.path("relay.log"))?;
        self.processes.insert("relay", process);
        let map = self.path("derp.json");
        wait_for("the relay tells its map", Duration::from_secs(20), || {
            is_written(&map)
                .then_some(())
                .ok_or_else(|| "no map".to_owned())
        });
        Ok(())
    }

    /// Asks a process to end.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn terminate(&self, service: &str) -> Result<()> {
        let process = self.processes.get(service).context("not running")?;
        process.terminate()
    }

    /// Says whether a process has ended, and well; `None` while it runs.
    pub fn has_ended(&mut self, service: &str) -> Option<bool> {
        self.processes.get_mut(service)?.has_ended()
    }

    /// Returns how many map sessions a gateway, 1 or 2, has begun over all its starts.
    #[must_use]
    pub fn begun(&self, gateway: usize) -> usize {
        let process = self.processes.get(GATEWAYS[gateway - 1].0);
        let log = process.map(Process::log).unwrap_or_default();
        log.matches("map session begins").count()
    }

    /// Returns what the gateways have written over all their starts.
    #[must_use]
    pub fn gateway_logs(&self) -> Vec<String> {
        let logs = GATEWAYS.iter().map(|(name, _)| self.log(name));
        logs.collect()
    }

    /// Returns what a process has written over all its starts.
    #[must_use]
    pub fn log(&self, service: &str) -> String {
        fs::read_to_string(self.path(&format!("{service}.log"))).unwrap_or_default()
    }

    /// Ends a process at once.
    pub fn kill9(&mut self, service: &str) {
        self.processes.remove(service);
    }

    /// Returns an administrator with a certificate.
    #[must_use]
    pub fn administrator(&self) -> Administrator {
        Administrator {
            certificates: self.path("certificates"),
        }
    }

    /// Runs the command line as an administrator with a certificate and returns its JSON.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn bowline(&self, arguments: &[&str]) -> Result<Value> {
        self.administrator().bowline(arguments)
    }

    /// Sets whose programs services run when they are started from here on: another release's, in a directory, or those under
    /// test.
    pub fn use_release(&mut self, release: Option<&Path>) {
        self.release = release.map(Path::to_owned);
    }

    fn service_program(&self, name: &str) -> Result<PathBuf> {
        match &self.release {
            Some(directory) => Ok(directory.join(name)),
            None => program(name),
        }
    }

    /// Makes a key for any number of nodes of the first user.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn key(&self) -> Result<String> {
        let answer = self.bowline(&["keys", "create", "--user", "owner@home", "--reusable"])?;
        Ok(answer["secret"].as_str().context("no secret")?.to_owned())
    }
}

impl Administrator {
    /// Runs the command line as an administrator with a certificate and returns its JSON.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn bowline(&self, arguments: &[&str]) -> Result<Value> {
        let certificates = &self.certificates;
        let output = Command::new(program("bowline")?)
            .args([
                "--identity",
                "127.0.0.1:7101",
                "--key-registry",
                "127.0.0.1:7102",
            ])
            .args(["--policy-compiler", "127.0.0.1:7103", "--output", "json"])
            .arg("--ca")
            .arg(certificates.join("ca.pem"))
            .arg("--cert")
            .arg(certificates.join("admin.pem"))
            .arg("--key")
            .arg(certificates.join("admin.key"))
            .args(arguments)
            .output()?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn is_written(path: &Path) -> bool {
    fs::read(path).is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok())
}
