//! The services as separate processes over PostgreSQL and Redis.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use bowline_service_kit::{
    CertificateFiles, Certificates, GrpcChannel, ServiceName, install_crypto_provider,
};
use bowline_test_servers::RedisServer;

use crate::deployment::{Deployment, Running, command, free_address};

/// The services, in the order they are started.
const SERVICES: [&str; 4] = [
    "identity",
    "key-registry",
    "policy-compiler",
    "netmap-gateway",
];

/// A server of separate processes.
#[derive(Debug)]
pub struct Separate {
    processes: Vec<Running>,
    /// Where each service is called, in the order of [`SERVICES`].
    called: [SocketAddr; 4],
    address: SocketAddr,
    directory: PathBuf,
    database: String,
    redis: RedisServer,
}

impl Separate {
    /// Starts the services on a database, with the control keys in `directory`, where logs and settings go as well.
    /// `None` when Redis is not installed.
    ///
    /// # Errors
    ///
    /// When they do not come up; their logs are in the directory.
    pub fn start(directory: &Path, database: &str) -> Result<Option<Self>> {
        install_crypto_provider();
        let Some(redis) = RedisServer::start()? else {
            return Ok(None);
        };
        let certificates = directory.join("certificates");
        create("certificates", &certificates)?;
        if !directory.join("control-keys").is_dir() {
            create("control-keys", &directory.join("control-keys"))?;
        }
        let mut server = Self {
            processes: Vec::new(),
            called: [
                free_address()?,
                free_address()?,
                free_address()?,
                free_address()?,
            ],
            address: free_address()?,
            directory: directory.to_owned(),
            database: database.to_owned(),
            redis,
        };
        for (index, service) in SERVICES.into_iter().enumerate() {
            let file = server.path(&format!("{service}.toml"));
            fs::write(&file, server.settings(index))?;
            let mut process = command(&format!("bowline-{service}"))?;
            process.arg("--config").arg(file);
            let log = server.path(&format!("{service}.log"));
            server.processes.push(Running::start(&mut process, &log)?);
        }
        server.wait_until_it_answers()?;
        Ok(Some(server))
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
        while let Some(process) = self.processes.pop() {
            process.end()?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn settings(&self, index: usize) -> String {
        let service = SERVICES[index];
        let certificates = self.path("certificates");
        let [identity, registry, compiler, _] = self.called;
        let (database, own) = match service {
            "netmap-gateway" => {
                let address = self.address;
                let keys = self.path("control-keys");
                let own = format!(
                    "listen = \"{address}\"\npublic_url = \"http://{address}\"\nplain_http_boxes = true\n\
                     control_keys = \"{}\"\n",
                    keys.display()
                );
                (String::new(), own)
            }
            "key-registry" => (
                self.database.clone(),
                "ephemeral_seconds = 86400\n".to_owned(),
            ),
            _ => (self.database.clone(), String::new()),
        };
        let database = match &*database {
            "" => String::new(),
            url => format!("database = \"{url}\"\n"),
        };
        format!(
            "listen = \"{}\"\n{database}redis = \"{}\"\ndrain_seconds = 1\n\
             identity = [\"{identity}\"]\nkey_registry = [\"{registry}\"]\npolicy_compiler = [\"{compiler}\"]\n\
             [certificates]\nauthority = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [service]\n{own}[telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"info,bowline=debug\"\n",
            self.called[index],
            self.redis.url(),
            certificates.join("ca.pem").display(),
            certificates.join(format!("{service}.pem")).display(),
            certificates.join(format!("{service}.key")).display(),
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
        let [identity, registry, compiler, _] = self.called.map(|address| address.to_string());
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

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn identity(&self) -> Result<GrpcChannel> {
        let certificates = Certificates::load(&self.files())?;
        let address = [self.called[0].to_string()];
        Ok(GrpcChannel::remote(
            ServiceName::Identity,
            &address,
            &certificates,
        )?)
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
