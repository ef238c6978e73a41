//! A service that is a process of its own: what `main` does, the same for each.
//!
//! ```text
//! bowline-SERVICE --config FILE ─▶ Process::start ─▶ build the service ─▶ Process::serve
//! ```

use std::{error::Error, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use tonic::service::Routes;

use crate::{
    AuditConfig, CallerVersions, Certificates, GrpcChannel, Listeners, ServiceName, Shutdown,
    Tasks, TokenVerifier,
    certificates::CertificateFiles,
    config::{self, Secret},
    descriptors, error_text, install_crypto_provider, serve,
    telemetry::{self, DatabaseCheck, Telemetry, TelemetryConfig},
};

/// How long a drain takes unless the settings say otherwise.
const DRAIN: Duration = Duration::from_secs(20);

/// What goes wrong in a `main`, which shows it to the operator in one line.
pub struct ProcessError(String);

impl<E: Error> From<E> for ProcessError {
    fn from(error: E) -> Self {
        Self(error_text(&error))
    }
}

impl fmt::Debug for ProcessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The table of a service without settings of its own.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// The `[admin]` table: where people and programs administer with tokens. It is a gateway's.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where they call, with TLS by the certificate that clients see. Nowhere unless it is set.
    pub listen: Option<SocketAddr>,
}

/// The settings file of a service's process; `S` is the service's own table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig<S> {
    /// Where other services and administrators call, and health is asked for.
    pub listen: SocketAddr,
    /// The process's certificate.
    pub certificates: CertificateFiles,
    /// The database, `postgres://…`; a gateway has none.
    pub database: Option<Secret>,
    /// Redis, `redis://…`: where hints travel.
    pub redis: Secret,
    /// Addresses `host:port` of the identity service.
    #[serde(default)]
    pub identity: Vec<String>,
    /// Addresses of the key-registry service.
    #[serde(default)]
    pub key_registry: Vec<String>,
    /// Addresses of the policy-compiler service.
    #[serde(default)]
    pub policy_compiler: Vec<String>,
    /// `[service]`: what only this service knows.
    #[serde(default)]
    pub service: S,
    /// `[admin]`: the administration address of a gateway.
    #[serde(default)]
    pub admin: AdminConfig,
    /// `[audit]`: where an owner exports the heads of its audit trails to.
    #[serde(default)]
    pub audit: AuditConfig,
    /// `[telemetry]`: logs and metrics.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// How long a drain takes at most, in seconds.
    pub drain_seconds: Option<u64>,
}

/// A process that is being put together.
#[derive(Debug)]
pub struct Process<S> {
    /// Its settings.
    pub config: ProcessConfig<S>,
    /// What runs in the background.
    pub tasks: Tasks,
    certificates: Certificates,
    telemetry: Telemetry,
    tokens: Option<TokenVerifier>,
    callers: CallerVersions,
}

impl<S: DeserializeOwned + Default> Process<S> {
    /// Reads the settings that the command line names, and starts logging.
    ///
    /// # Errors
    ///
    /// What is wrong with the command line, the settings or the certificates.
    #[expect(
        clippy::disallowed_methods,
        reason = "one argument, and variables are part of the settings"
    )]
    pub fn start() -> Result<Self, ProcessError> {
        install_crypto_provider();
        let mut arguments = std::env::args_os().skip(1);
        let path = match (arguments.next(), arguments.next(), arguments.next()) {
            (Some(flag), Some(path), None) if flag == "--config" => PathBuf::from(path),
            _ => return Err(ProcessError("usage: --config FILE".to_owned())),
        };
        let config: ProcessConfig<S> = config::load(Some(&path), std::env::vars())?;
        let telemetry = telemetry::init(&config.telemetry)?;
        descriptors::raise_limit();
        let certificates = Certificates::load(&config.certificates)?;
        let drain = config.drain_seconds.map_or(DRAIN, Duration::from_secs);
        let tasks = Tasks::new(Shutdown::new(drain));
        Ok(Self {
            config,
            tasks,
            certificates,
            telemetry,
            tokens: None,
            callers: CallerVersions::default(),
        })
    }

    /// Returns a channel to a service.
    ///
    /// # Errors
    ///
    /// When the settings do not name it.
    pub fn channel_to(&self, service: ServiceName) -> Result<GrpcChannel, ProcessError> {
        let addresses = match service {
            ServiceName::Identity => &self.config.identity,
            ServiceName::KeyRegistry => &self.config.key_registry,
            _ => &self.config.policy_compiler,
        };
        Ok(GrpcChannel::remote(service, addresses, &self.certificates)?)
    }

    /// Returns the database's URL.
    ///
    /// # Errors
    ///
    /// When the settings do not name it.
    pub fn database_url(&self) -> Result<&str, ProcessError> {
        match &self.config.database {
            Some(url) => Ok(url.expose()),
            None => Err(ProcessError("the settings name no database".to_owned())),
        }
    }

    /// Returns which releases those are that call.
    #[must_use]
    pub fn callers(&self) -> &CallerVersions {
        &self.callers
    }

    /// Takes the tokens that gateways pass on; identity knows whose they are.
    #[must_use]
    pub fn with_tokens_of(mut self, identity: GrpcChannel) -> Self {
        self.tokens = Some(TokenVerifier::new(identity));
        self
    }

    /// Takes what asks whether the database answers: while it does not, the process lives and is not ready.
    #[must_use]
    pub fn with_database_check(self, check: DatabaseCheck) -> Self {
        self.telemetry.require_database(check);
        self
    }

    /// Serves until a signal: `routes` where others call, health and metrics beside it. `descriptors` is the encoded
    /// `FileDescriptorSet` of what the routes answer.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub async fn serve(
        self,
        routes: Routes,
        descriptors: &'static [u8],
    ) -> Result<(), ProcessError> {
        if self.config.admin.listen.is_some() {
            let text =
                "[admin] is a table of the gateway: only it listens for administrators with tokens";
            return Err(ProcessError(text.to_owned()));
        }
        let shutdown = self.tasks.shutdown().clone();
        let listeners = Listeners::default()
            .with_tcp(self.config.listen, self.certificates)?
            .with_tokens(self.tokens)
            .with_versions(self.callers);
        let serving = serve(routes, descriptors, listeners, shutdown.clone());
        self.tasks.spawn_critical("grpc", serving);
        let listener = telemetry::listen_for_probes(self.config.telemetry.listen)?;
        let serving = self.telemetry.clone().serve(listener, shutdown);
        self.tasks.spawn_companion("telemetry", serving);
        self.telemetry.mark_ready();
        Ok(self.tasks.run().await?)
    }
}
