//! What both compositions offer: the command line, and an address for clients.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bowline_service_kit::GrpcChannel;
use serde_json::Value;

/// How long a process may take to serve, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server, of one process or of several.
pub trait Deployment {
    /// Returns a command with everything that says where the server is.
    ///
    /// # Errors
    ///
    /// When the program is not built.
    fn command(&self) -> Result<Command>;

    /// Returns where clients connect.
    fn address(&self) -> SocketAddr;

    /// Returns a channel to identity, for what the command line does not do.
    ///
    /// # Errors
    ///
    /// When the certificates can not be read.
    fn identity(&self) -> Result<GrpcChannel>;

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

    /// Runs the command line until it succeeds.
    ///
    /// # Errors
    ///
    /// What the command said last.
    fn wait_until_it_answers(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.bowline(&["status"]) {
                Ok(_) if TcpStream::connect(self.address()).is_ok() => return Ok(()),
                Ok(_) if Instant::now() > deadline => bail!("nobody listens for clients"),
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Returns a program under test: they are built beside the tests.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // A test lies in `deps`, a program beside it.
    let mut places = own.ancestors().skip(1).take(2);
    let found = places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()));
    found.with_context(|| format!("{name} is not built: cargo build --workspace --bins"))
}

/// Returns a command without the variables of whoever runs the tests.
pub(crate) fn command(name: &str) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    for (name, _) in std::env::vars() {
        if name.starts_with("BOWLINE_") {
            command.env_remove(name);
        }
    }
    Ok(command)
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
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        Ok(Self(child))
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
