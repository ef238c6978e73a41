//! `bowline serve` on a state directory.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use bowline_service_kit::{GrpcChannel, ServiceName};

use crate::{
    Launch,
    deployment::{Deployment, Running, command, free_address, owned, server_command},
};

/// A server of one process.
#[derive(Debug)]
pub struct OneProcess {
    process: Option<Running>,
    state_dir: PathBuf,
    address: SocketAddr,
    environment: Vec<(String, String)>,
}

impl OneProcess {
    /// Starts a server on a state directory: a copy, or one to be made. `scheme` is what clients speak.
    ///
    /// # Errors
    ///
    /// When it does not come up; its log is in the state directory.
    pub fn start(state_dir: &Path, scheme: &str) -> Result<Self> {
        let launch = Launch {
            scheme,
            ..Launch::default()
        };
        Self::start_with(state_dir, &launch)
    }

    /// Starts a server on a state directory.
    ///
    /// # Errors
    ///
    /// When it does not come up; its log is in the state directory.
    pub fn start_with(state_dir: &Path, launch: &Launch<'_>) -> Result<Self> {
        let Launch {
            scheme,
            log_filter,
            environment,
            ..
        } = launch;
        fs::create_dir_all(state_dir)?;
        let (address, relay, stun) = (free_address()?, free_address()?, free_address()?);
        // Nothing is to end while a test looks at it.
        let settings = format!(
            "drain_seconds = 1\n\
             [gateway]\nlisten = \"{address}\"\npublic_url = \"{scheme}://{address}\"\nplain_http_boxes = true\n\
             [registry]\nephemeral_seconds = 86400\n\
             [relay]\nlisten = \"{relay}\"\nstun_listen = \"{stun}\"\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"{log_filter}\"\n"
        );
        fs::write(state_dir.join("bowline.toml"), settings)?;
        let mut server = Self {
            process: None,
            state_dir: state_dir.to_owned(),
            address,
            environment: owned(environment),
        };
        server.run()?;
        Ok(server)
    }

    fn run(&mut self) -> Result<()> {
        let mut serve = server_command("bowline")?;
        serve
            .arg("--state-dir")
            .arg(&self.state_dir)
            .arg("serve")
            .envs(self.environment.clone());
        let log = self.state_dir.join("serve.log");
        self.process = Some(Running::start(serve, &log)?);
        self.wait_until_it_answers()
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

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }

    fn channel(&self, _: ServiceName) -> Result<GrpcChannel> {
        Ok(GrpcChannel::admin_socket(self.state_dir.join("admin.sock")))
    }

    fn crash_gateways(&mut self) -> Result<()> {
        self.process = None;
        self.run()
    }
}
