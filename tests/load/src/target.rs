//! The server under load: started here, or one that runs.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use bowline_service_kit::{
    CertificateFiles, Certificates, GrpcChannel, ServiceName, install_crypto_provider,
};
use bowline_test_deployments::{Deployment, Launch, OneProcess, Separate};
use bowline_test_servers::PostgresServer;
use tempfile::TempDir;

use crate::{
    administration::{AdministratorAccess, HeadscaleApi, OwnerChannels},
    dial::GatewayAddress,
    headscale_server::HeadscaleServer,
    options::{DeploymentKind, Options},
};

/// A server.
pub struct Target {
    /// Where nodes connect.
    pub gateways: Vec<GatewayAddress>,
    /// Where an administrator asks.
    pub access: AdministratorAccess,
    /// What was started, with what it runs on; in this order it ends.
    started: Option<StartedServer>,
    postgres: Option<(PostgresServer, String)>,
    _directory: Option<TempDir>,
}

/// A server that was started.
enum StartedServer {
    Bowline(Box<dyn Deployment>),
    Headscale(HeadscaleServer),
}

impl Target {
    /// Starts a server, or finds the one that is named; `None` where what it runs on is not installed.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn begin(options: &Options) -> Result<Option<Self>> {
        install_crypto_provider();
        if !options.gateway.is_empty() {
            return Self::running(options).map(Some);
        }
        let directory = tempfile::tempdir()?;
        if let Some(program) = &options.headscale {
            return Self::headscale(program, directory).map(Some);
        }
        let slots = slots_for(options.nodes).to_string();
        // Simulated nodes use no relay: the files that it would have are theirs.
        let settings = [
            ("BOWLINE_GATEWAY__MAX_CONNECTIONS", slots.as_str()),
            ("BOWLINE_RELAY__ENABLED", "false"),
        ];
        let launch = Launch {
            scheme: if options.tls { "https" } else { "http" },
            log_filter: "warn",
            gateways: 2,
            ..Launch::default()
        };
        let mut postgres = None;
        let deployment: Box<dyn Deployment> = match options.deployment {
            DeploymentKind::Serve => {
                let launch = Launch {
                    environment: &settings,
                    ..launch
                };
                Box::new(OneProcess::start_with(directory.path(), &launch)?)
            }
            DeploymentKind::Separate => {
                // What is acknowledged is on the disk, as where it counts.
                let Some(server) = PostgresServer::start_with_fsync(true)? else {
                    return Ok(None);
                };
                let database = server.new_database()?;
                postgres = Some((server, database.clone()));
                match Separate::start_with(directory.path(), &database, &launch)? {
                    Some(separate) => Box::new(separate),
                    None => return Ok(None),
                }
            }
        };
        let authority = directory.path().join("tls/ca.pem");
        let urls = deployment.addresses().into_iter();
        let gateways = urls.map(|address| {
            let url = format!("{}://{address}", launch.scheme);
            GatewayAddress::new(&url, Some(&authority))
        });
        let channels = OwnerChannels::find(|service| deployment.channel(service))?;
        Ok(Some(Self {
            gateways: gateways.collect::<Result<_>>()?,
            access: AdministratorAccess::Owners(Box::new(channels)),
            started: Some(StartedServer::Bowline(deployment)),
            postgres,
            _directory: Some(directory),
        }))
    }

    fn running(options: &Options) -> Result<Self> {
        let urls = options.gateway.iter();
        let gateways = urls.map(|url| GatewayAddress::new(url, options.gateway_ca.as_deref()));
        let channels = match (&options.state_dir, &options.certificates) {
            (Some(directory), _) => OwnerChannels::find(|_| {
                Ok(GrpcChannel::admin_socket(directory.join("admin.sock")))
            })?,
            (None, Some(directory)) => channels_to_owners(&options.owners, directory)?,
            (None, None) => {
                bail!("say where to administer: --state-dir, or --owners and --certificates")
            }
        };
        Ok(Self {
            gateways: gateways.collect::<Result<_>>()?,
            access: AdministratorAccess::Owners(Box::new(channels)),
            started: None,
            postgres: None,
            _directory: None,
        })
    }

    fn headscale(program: &Path, directory: TempDir) -> Result<Self> {
        let server = HeadscaleServer::start(program, directory.path())?;
        let gateway = GatewayAddress::new(&format!("http://{}", server.address), None)?;
        let api = HeadscaleApi::new(gateway.clone(), server.make_token()?);
        Ok(Self {
            gateways: vec![gateway],
            access: AdministratorAccess::Headscale(api),
            started: Some(StartedServer::Headscale(server)),
            postgres: None,
            _directory: Some(directory),
        })
    }

    /// Returns the size of the database in MiB, where one was started here.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn database_mebibytes(&self) -> Result<Option<f64>> {
        let size = self.postgres.as_ref().map(|(server, url)| {
            let size = "SELECT pg_database_size(current_database())::float8 / 1048576";
            Ok(server.ask(url, size)?.trim().parse()?)
        });
        size.transpose()
    }

    /// Kills the gateways and starts them again, where they were started here; says whether they were.
    ///
    /// # Errors
    ///
    /// When they do not come up.
    pub fn crash_gateways(&mut self) -> Result<bool> {
        match &mut self.started {
            Some(StartedServer::Bowline(deployment)) => deployment.crash_gateways()?,
            Some(StartedServer::Headscale(server)) => server.crash()?,
            None => return Ok(false),
        }
        Ok(true)
    }
}

impl OwnerChannels {
    fn find(channel: impl Fn(ServiceName) -> Result<GrpcChannel>) -> Result<Self> {
        Ok(Self {
            identity: channel(ServiceName::Identity)?,
            registry: channel(ServiceName::KeyRegistry)?,
            compiler: channel(ServiceName::PolicyCompiler)?,
        })
    }
}

/// Returns how many connections a gateway is set up for, so that so many nodes stay connected: an eighth is for strangers.
fn slots_for(nodes: u32) -> u32 {
    (nodes + nodes / 7 + 64).max(16_384)
}

fn channels_to_owners(addresses: &[String], directory: &Path) -> Result<OwnerChannels> {
    let count = addresses.len();
    ensure!(count == 3, "--owners has three addresses, and not {count}");
    let certificates = Certificates::load(&CertificateFiles {
        authority: directory.join("ca.pem"),
        certificate: directory.join("admin.pem"),
        key: directory.join("admin.key"),
        ..CertificateFiles::default()
    })?;
    OwnerChannels::find(|service| {
        let place = match service {
            ServiceName::Identity => 0,
            ServiceName::KeyRegistry => 1,
            _ => 2,
        };
        let address = addresses.get(place..=place).unwrap_or_default();
        Ok(GrpcChannel::remote(service, address, &certificates)?)
    })
}
