//! `bowline serve` on a state directory.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use bowline_service_kit::GrpcChannel;

use crate::deployment::{Deployment, Running, command, free_address};

/// A server of one process.
#[derive(Debug)]
pub struct OneProcess {
    process: Option<Running>,
    state_dir: PathBuf,
    address: SocketAddr,
}

impl OneProcess {
    /// Starts a server on a state directory: a copy, or one to be made. `scheme` is what clients speak.
    ///
    /// # Errors
    ///
    /// When it does not come up; its log is in the state directory.
    pub fn start(state_dir: &Path, scheme: &str) -> Result<Self> {
        fs::create_dir_all(state_dir)?;
        let (address, relay, stun) = (free_address()?, free_address()?, free_address()?);
        // Nothing is to end while a test looks at it.
        let settings = format!(
            "drain_seconds = 1\n\
             [gateway]\nlisten = \"{address}\"\npublic_url = \"{scheme}://{address}\"\nplain_http_boxes = true\n\
             [registry]\nephemeral_seconds = 86400\n\
             [relay]\nlisten = \"{relay}\"\nstun_listen = \"{stun}\"\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"info,bowline=debug\"\n"
        );
        fs::write(state_dir.join("bowline.toml"), settings)?;
        let mut serve = command("bowline")?;
        serve.arg("--state-dir").arg(state_dir).arg("serve");
        let process = Running::start(&mut serve, &state_dir.join("serve.log"))?;
        let server = Self {
            process: Some(process),
            state_dir: state_dir.to_owned(),
            address,
        };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Returns what it has logged.
    ///
    /// # Errors
    ///
    /// When the log can not be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.state_dir.join("serve.log"))?)
    }

    /// Lets it drain and end, so that its databases are whole files.
    ///
    /// # Errors
    ///
    /// When it does not end well.
    pub fn end(mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Running::end)
    }
}

impl Deployment for OneProcess {
    fn command(&self) -> Result<Command> {
        let mut command = command("bowline")?;
        command.arg("--state-dir").arg(&self.state_dir);
        Ok(command)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn identity(&self) -> Result<GrpcChannel> {
        Ok(GrpcChannel::admin_socket(self.state_dir.join("admin.sock")))
    }
}
