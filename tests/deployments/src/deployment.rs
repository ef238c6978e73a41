//! What both compositions offer: the command line, and an address for clients.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bowline_service_kit::{GrpcChannel, ServiceName};
use bowline_test_servers::{mortal, spawn_mortal};
use serde_json::Value;

/// How long a process may take to serve, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// What clients of one process speak: `http` or `https`. Separate gateways speak `http`.
    pub scheme: &'a str,
    /// What is logged.
    pub log_filter: &'a str,
    /// How many gateways there are beside each other, where the services are separate.
    pub gateways: usize,
    /// Variables of the servers' environment.
    pub environment: &'a [(&'a str, &'a str)],
}

impl Default for Launch<'_> {
    fn default() -> Self {
        Self {
            scheme: "http",
            log_filter: "info,bowline=debug",
            gateways: 1,
            environment: &[],
        }
    }
}

/// A running server, of one process or of several.
pub trait Deployment {
    /// Returns a command with everything that says where the server is.
    ///
    /// # Errors
    ///
    /// When the program is not built.
    fn command(&self) -> Result<Command>;

    /// Returns where clients connect, at each gateway.
    fn addresses(&self) -> Vec<SocketAddr>;

    /// Returns a channel to a service, for what the command line does not do.
    ///
    /// # Errors
    ///
    /// When the certificates can not be read.
    fn channel(&self, service: ServiceName) -> Result<GrpcChannel>;

    /// Ends everything that clients are connected to at once, and starts it again.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    fn crash_gateways(&mut self) -> Result<()>;

    /// Returns where clients connect, at the first gateway.
    fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// Runs the command line and returns its JSON.
    ///
    /// # Errors
    ///
    /// What the command says.
    fn bowline(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.command()?;
        let output = command
            .args(["--output", "json"])
            .args(arguments)
            .output()?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&said));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Says whether all gateways take connections.
    fn is_open(&self) -> bool {
        let mut addresses = self.addresses().into_iter();
        addresses.all(|address| TcpStream::connect(address).is_ok())
    }

    /// Runs the command line until it succeeds.
    ///
    /// # Errors
    ///
    /// What the command said last.
    fn wait_until_it_answers(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.bowline(&["status"]) {
                Ok(_) if self.is_open() => return Ok(()),
                Ok(_) if Instant::now() > deadline => bail!("nobody listens for clients"),
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Returns a program under test: they are built beside the tests.
///
/// # Errors
///
/// When it is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // A test lies in `deps`, a program beside it.
    let mut places = own.ancestors().skip(1).take(2);
    let found = places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()));
    found.with_context(|| format!("{name} is not built: cargo build --workspace --bins"))
}

/// Returns a command without the variables of whoever runs the tests.
pub(crate) fn command(name: &str) -> Result<Command> {
    Ok(without_settings(Command::new(program(name)?)))
}

/// Returns the same for a server, which ends with this process.
pub(crate) fn server_command(name: &str) -> Result<Command> {
    Ok(without_settings(mortal(&program(name)?, None)))
}

/// Returns variables to be kept.
pub(crate) fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    environment.iter().map(owned).collect()
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("BOWLINE_") || name.starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// Returns a free address of the loopback interface.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A process that ends with its handle.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts a command whose output goes to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Ok(Self(spawn_mortal(command)?))
    }

    /// Lets it drain and end.
    pub(crate) fn end(mut self) -> Result<()> {
        let number = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &number]).status()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("it ended with {status}"),
                None if Instant::now() > deadline => bail!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
