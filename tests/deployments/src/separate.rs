//! The services as separate processes over PostgreSQL and Redis.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use bowline_service_kit::{
    CertificateFiles, Certificates, GrpcChannel, ServiceName, install_crypto_provider,
};
use bowline_test_servers::RedisServer;

use crate::{
    Launch,
    deployment::{Deployment, Running, command, free_address, owned, server_command},
};

/// The owners of hard state, in the order they are started.
const OWNERS: [ServiceName; 3] = [
    ServiceName::Identity,
    ServiceName::KeyRegistry,
    ServiceName::PolicyCompiler,
];

/// A server of separate processes.
#[derive(Debug)]
pub struct Separate {
    owners: Vec<Running>,
    gateways: Vec<Running>,
    /// Where each owner is called, in the order of [`OWNERS`].
    called: [SocketAddr; 3],
    /// Where clients connect, at each gateway.
    addresses: Vec<SocketAddr>,
    log_filter: String,
    environment: Vec<(String, String)>,
    directory: PathBuf,
    database: String,
    redis: RedisServer,
}

impl Separate {
    /// Starts the services with one gateway on a database, with the `control-keys` in `directory`, where logs and settings go
    /// as well. `None` when Redis is not installed.
    ///
    /// # Errors
    ///
    /// When they do not come up; their logs are in the directory.
    pub fn start(directory: &Path, database: &str) -> Result<Option<Self>> {
        Self::start_with(directory, database, &Launch::default())
    }

    /// Starts the services on a database.
    ///
    /// # Errors
    ///
    /// When they do not come up; their logs are in the directory.
    pub fn start_with(
        directory: &Path,
        database: &str,
        launch: &Launch<'_>,
    ) -> Result<Option<Self>> {
        install_crypto_provider();
        let Some(redis) = RedisServer::start()? else {
            return Ok(None);
        };
        create("certificates", &directory.join("certificates"))?;
        if !directory.join("control-keys").is_dir() {
            create("control-keys", &directory.join("control-keys"))?;
        }
        let addresses = (0..launch.gateways).map(|_| free_address());
        let mut server = Self {
            owners: Vec::new(),
            gateways: Vec::new(),
            called: [free_address()?, free_address()?, free_address()?],
            addresses: addresses.collect::<Result<_>>()?,
            log_filter: launch.log_filter.to_owned(),
            environment: owned(launch.environment),
            directory: directory.to_owned(),
            database: database.to_owned(),
            redis,
        };
        for (index, service) in OWNERS.into_iter().enumerate() {
            let own = format!("database = \"{}\"\n", server.database);
            let more = match service {
                ServiceName::KeyRegistry => "ephemeral_seconds = 86400\n",
                _ => "",
            };
            let settings = server.settings(service.as_str(), server.called[index], &own, more);
            let process = server.run(service.as_str(), service.as_str(), &settings)?;
            server.owners.push(process);
        }
        server.run_gateways()?;
        Ok(Some(server))
    }

    fn run_gateways(&mut self) -> Result<()> {
        let service = "netmap-gateway";
        for (index, address) in self.addresses.clone().into_iter().enumerate() {
            // One that has a directory of its own may have other keys than the rest.
            let own = self.path(&format!("control-keys-{}", index + 1));
            let keys = match own.is_dir() {
                true => own,
                false => self.path("control-keys"),
            };
            let own = format!(
                "listen = \"{address}\"\npublic_url = \"http://{address}\"\nplain_http_boxes = true\n\
                 control_keys = \"{}\"\n",
                keys.display()
            );
            let settings = self.settings(service, free_address()?, "", &own);
            let name = match index {
                0 => service.to_owned(),
                _ => format!("{service}-{}", index + 1),
            };
            let process = self.run(service, &name, &settings)?;
            self.gateways.push(process);
        }
        self.wait_until_it_answers()
    }

    /// Starts a process with settings, which logs under its name.
    fn run(&self, service: &str, name: &str, settings: &str) -> Result<Running> {
        let file = self.path(&format!("{name}.toml"));
        fs::write(&file, settings)?;
        let mut process = server_command(&format!("bowline-{service}"))?;
        process
            .arg("--config")
            .arg(file)
            .envs(self.environment.clone());
        Running::start(process, &self.path(&format!("{name}.log")))
    }

    /// Returns what a service has logged.
    ///
    /// # Errors
    ///
    /// When the log can not be read.
    pub fn log(&self, service: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(&format!("{service}.log")))?)
    }

    /// Lets all processes drain and end, the gateway first.
    ///
    /// # Errors
    ///
    /// When one does not end well.
    pub fn end(mut self) -> Result<()> {
        let gateways = self.gateways.drain(..);
        gateways
            .chain(self.owners.drain(..).rev())
            .try_for_each(Running::end)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn settings(&self, service: &str, listen: SocketAddr, own: &str, of_service: &str) -> String {
        let certificates = self.path("certificates");
        let [identity, registry, compiler] = self.called;
        format!(
            "listen = \"{listen}\"\n{own}redis = \"{}\"\ndrain_seconds = 1\n\
             identity = [\"{identity}\"]\nkey_registry = [\"{registry}\"]\npolicy_compiler = [\"{compiler}\"]\n\
             [certificates]\nauthority = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [service]\n{of_service}[telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"{}\"\n",
            self.redis.url(),
            certificates.join("ca.pem").display(),
            certificates.join(format!("{service}.pem")).display(),
            certificates.join(format!("{service}.key")).display(),
            self.log_filter,
        )
    }

    fn files(&self) -> CertificateFiles {
        let certificates = self.path("certificates");
        CertificateFiles {
            authority: certificates.join("ca.pem"),
            certificate: certificates.join("admin.pem"),
            key: certificates.join("admin.key"),
            ..CertificateFiles::default()
        }
    }
}

impl Deployment for Separate {
    fn command(&self) -> Result<Command> {
        let [identity, registry, compiler] = self.called.map(|address| address.to_string());
        let files = self.files();
        let mut command = command("bowline")?;
        command
            .args(["--identity", &identity, "--key-registry", &registry])
            .args(["--policy-compiler", &compiler])
            .arg("--ca")
            .arg(files.authority)
            .arg("--cert")
            .arg(files.certificate)
            .arg("--key")
            .arg(files.key);
        Ok(command)
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    fn channel(&self, service: ServiceName) -> Result<GrpcChannel> {
        let certificates = Certificates::load(&self.files())?;
        let place = OWNERS.into_iter().position(|owner| owner == service);
        let address = self.called[place.context("nobody calls this service")?];
        Ok(GrpcChannel::remote(
            service,
            &[address.to_string()],
            &certificates,
        )?)
    }

    fn crash_gateways(&mut self) -> Result<()> {
        self.gateways.clear();
        self.run_gateways()
    }
}

/// Runs `bowline WHAT create DIRECTORY`.
fn create(what: &str, directory: &Path) -> Result<()> {
    let output = command("bowline")?
        .args([what, "create"])
        .arg(directory)
        .output()?;
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
