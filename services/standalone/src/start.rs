//! Puts the process together.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use bowline_audit_heads::{HeadExporter, create_audit_key};
use bowline_bus::Bus;
use bowline_clock::{Clock as _, SharedClock, SystemClock};
use bowline_control_keys::ControlKeys;
use bowline_db::Database;
use bowline_identity::{Identity, IdentityConfig, TrailServices};
use bowline_key_registry::{AskedServices, KeyRegistry};
use bowline_netmap_gateway::{Backends, Dependencies, DerpMap, GatewayConfig};
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_portal::{PortalConfig, portal_routes};
use bowline_sealing::create_keys;
use bowline_service_kit::{
    Caller, CallerVersions, DeferredServices, Listeners, ServiceName, Shutdown, Tasks,
    config::Secret, descriptors, install_crypto_provider, serve, telemetry,
};
use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use tonic::service::Routes;

use crate::{
    Config, Options,
    databases::OwnerDatabase,
    first_start::{self, FirstStart, FirstStartServices},
    greeting, load_config, relay, state_dir, tls,
};

/// How long a drain takes unless the settings say otherwise.
const DRAIN: Duration = Duration::from_secs(10);
/// How often certificates are looked at.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What a server is asked about at its health service: whether the settings give clients a relay.
pub const RELAY_HEALTH: &str = "relay";

/// A process that serves.
#[derive(Debug)]
pub struct StartedServer {
    /// The URL clients are given.
    pub public_url: String,
    /// The certificate authority clients have to trust, when it was made here.
    pub authority: Option<std::path::PathBuf>,
    /// What the owner is told, when this was the first start.
    pub first: Option<FirstStart>,
    /// What the settings leave clients without.
    pub warnings: Vec<String>,
    /// The ports that clients have to reach.
    pub ports: String,
    /// Keeps other processes out of the state directory.
    _lock: fs::File,
}

/// Serves until a signal.
///
/// # Errors
///
/// What hinders the start, or what fails later.
pub fn run(options: Options) -> BoxFuture<'static, Result<()>> {
    // Boxed: it is compiled here once, and not again in each crate that awaits it.
    Box::pin(async move {
        install_crypto_provider();
        let config = load_config(&options)?;
        let telemetry = telemetry::init(&config.telemetry)?;
        descriptors::raise_limit();
        let shutdown = Shutdown::new(config.drain_seconds.map_or(DRAIN, Duration::from_secs));
        let tasks = Tasks::new(shutdown.clone());
        let listener = telemetry::listen_for_probes(config.telemetry.listen)?;
        let started = start(&options, config, &tasks).await?;
        tasks.spawn_companion("telemetry", telemetry.clone().serve(listener, shutdown));
        telemetry.mark_ready();
        greeting::print_greeting(&options.state_dir, &started);
        Ok(tasks.run().await?)
    })
}

/// Starts all services; they serve when this returns.
///
/// # Errors
///
/// What hinders the start.
pub async fn start(options: &Options, mut config: Config, tasks: &Tasks) -> Result<StartedServer> {
    let state_dir = &options.state_dir;
    let (warnings, ports) = (config.warnings(), config.describe_ports());
    let lock = state_dir::lock_state_dir(state_dir)?;
    state_dir::check_restored(state_dir)?;
    if let Some(directory) = &config.gateway.control_keys {
        ControlKeys::create(directory)?;
    }
    let url = url::Url::parse(&config.gateway.public_url)
        .with_context(|| format!("public_url {:?} is no URL", config.gateway.public_url))?;
    let host = url
        .host_str()
        .context("public_url has no host")?
        .trim_matches(['[', ']']);
    let ordered = config.gateway.acme_plan()?;
    let authority = match &ordered {
        Some(_) => None,
        None => make_certificate(&mut config.gateway, state_dir, host, tasks)?,
    };
    let relay_connections = divide_files(&mut config);
    let shared = SharedParts::new();
    let (routes, databases) = start_owners(state_dir, &config, &shared, tasks).await?;
    let SharedParts {
        bus,
        clock,
        services,
    } = shared;
    services.set_routes(routes.clone());
    let has_relay = config.has_relay();
    let place = relay::RelayPlace {
        state_dir,
        host,
        today: today(),
        ordered: ordered.as_ref(),
    };
    config.audit.read_signing_key().await?;
    export_audit_heads(state_dir, &config, &databases, tasks)?;
    let derp_map = start_relay(&config, place, &services, relay_connections, tasks).await?;
    let public_url = config.gateway.public_url.clone();
    let backends = gateway_backends(&services);
    let more_routes = portal_routes(portal_config(&public_url, &backends))?;
    let given = Dependencies {
        backends,
        bus,
        clock: Arc::clone(&clock),
        tasks: tasks.clone(),
        derp_map,
        more_routes,
        admin_listen: config.admin.listen,
    };
    bowline_netmap_gateway::start(config.gateway, given).await?;
    for (service, database) in databases {
        // Nobody calls from another process. From here on it is known when the clients' certificate ends.
        database.keep_schema_level(service, CallerVersions::default(), tasks);
    }
    // Once everything listens: a start that fails before leaves nothing behind that the next one would not make.
    let admin = services.channel_for(Caller::Admin {
        name: "first-start".to_owned(),
    });
    let services = FirstStartServices {
        identity: admin.clone(),
        registry: admin,
    };
    let first = first_start::prepare_first_start(services, clock.now()).await?;
    listen_for_administrators(state_dir, routes, has_relay, tasks)?;
    Ok(StartedServer {
        public_url,
        authority,
        first,
        warnings,
        ports,
        _lock: lock,
    })
}

/// Has the gateway show a certificate made here, where its settings name none; returns what clients have to trust then.
fn make_certificate(
    gateway: &mut GatewayConfig,
    state_dir: &Path,
    host: &str,
    tasks: &Tasks,
) -> Result<Option<PathBuf>> {
    // With one of the two, the gateway says what is missing.
    let has_none = gateway.certificate_file.is_none() && gateway.key_file.is_none();
    if !(gateway.tls && gateway.is_https() && has_none) {
        return Ok(None);
    }
    let directory = state_dir.join("tls");
    let files = tls::keep_listener_certificate(&directory, host, today())?;
    let keeping = keep_certificate(directory, host.to_owned());
    tasks.spawn_background("certificates", keeping);
    gateway.certificate_file = Some(files.certificate);
    gateway.key_file = Some(files.key);
    Ok(Some(files.authority))
}

/// Starts the relay of this process, unless there are others or none, and returns the map with it.
async fn start_relay(
    config: &Config,
    place: relay::RelayPlace<'_>,
    services: &DeferredServices,
    connections: usize,
    tasks: &Tasks,
) -> Result<DerpMap> {
    if config.has_outside_relays() || !config.relay.enabled {
        return Ok(DerpMap::default());
    }
    let channel = services.channel_for(Caller::Service(ServiceName::Relay));
    let owners = relay::RelayBackends {
        registry: channel.clone(),
        identity: channel,
    };
    relay::start(&config.relay, place, owners, connections, tasks).await
}

/// Bounds the gateway's connections by the files there are, and returns how many are the relay's: a third, since it is for
/// those who reach each other in no other way.
fn divide_files(config: &mut Config) -> usize {
    let files = descriptors::available_connections();
    let relay_connections = if config.relay.enabled { files / 3 } else { 0 };
    let most = &mut config.gateway.max_connections;
    *most = descriptors::bound_connections("gateway", *most, files - relay_connections);
    relay_connections
}

/// Returns what the portal is given: it reaches the services as the gateway does.
fn portal_config(public_url: &str, backends: &Backends) -> PortalConfig {
    PortalConfig {
        public_url: public_url.to_owned(),
        identity: backends.identity.clone(),
        registry: backends.registry.clone(),
        compiler: backends.compiler.clone(),
    }
}

/// Returns how the gateway reaches the services of this process.
fn gateway_backends(services: &DeferredServices) -> Backends {
    let channel = services.channel_for(Caller::Service(ServiceName::NetmapGateway));
    Backends {
        identity: channel.clone(),
        identity_for_waits: channel.clone(),
        registry: channel.clone(),
        compiler: channel,
    }
}

/// What the services of the process share.
struct SharedParts {
    bus: Bus,
    clock: SharedClock,
    services: DeferredServices,
}

impl SharedParts {
    fn new() -> Self {
        Self {
            bus: Bus::in_process(),
            clock: Arc::new(SystemClock),
            services: DeferredServices::default(),
        }
    }
}

/// Returns identity's settings, with a sealing key made here and the gateway's URL where they name none.
fn identity_settings(state_dir: &Path, config: &Config) -> Result<IdentityConfig> {
    let mut settings = config.identity.clone();
    if settings.sealing_key.is_none() && settings.sealing_key_command.is_none() {
        let path = state_dir.join("sealing-key");
        if !path.exists() {
            create_keys(&path)?;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        settings.sealing_key = Some(Secret::new(text));
    }
    if settings.public_url.is_empty() {
        settings.public_url.clone_from(&config.gateway.public_url);
    }
    Ok(settings)
}

/// What the owners of hard state serve, and the database of each.
type StartedOwners = (Routes, [(ServiceName, Database); 3]);

/// Starts the owners of hard state, each on a database of its own.
async fn start_owners(
    state_dir: &Path,
    config: &Config,
    shared: &SharedParts,
    tasks: &Tasks,
) -> Result<StartedOwners> {
    let SharedParts {
        bus,
        clock,
        services,
    } = shared;
    let database = |service| OwnerDatabase::state_url(state_dir, service);
    let channel = |service| services.channel_for(Caller::Service(service));
    let (registry, compiler) = (ServiceName::KeyRegistry, ServiceName::PolicyCompiler);
    let mut routes = Routes::builder();
    let url = database(ServiceName::Identity);
    let settings = identity_settings(state_dir, config)?;
    let trails = TrailServices {
        registry: channel(ServiceName::Identity),
        compiler: channel(ServiceName::Identity),
    };
    let (hints, time) = (bus.clone(), Arc::clone(clock));
    let identity = Identity::start(&url, &settings, Some(trails), hints, time, tasks).await?;
    identity.add_to(&mut routes);
    let asked = AskedServices {
        identity: channel(registry),
        compiler: channel(registry),
    };
    let (url, settings) = (database(registry), config.registry.clone());
    let keys = KeyRegistry::start(&url, settings, asked, bus.clone(), Arc::clone(clock), tasks);
    let keys = keys.await?;
    keys.add_to(&mut routes);
    let followed = FollowedServices {
        identity: channel(compiler),
        registry: channel(compiler),
    };
    let url = database(compiler);
    let policies = PolicyCompiler::start(&url, followed, bus.clone(), Arc::clone(clock), tasks);
    let policies = policies.await?;
    policies.add_to(&mut routes);
    let databases = [
        (ServiceName::Identity, identity.database().clone()),
        (registry, keys.database().clone()),
        (compiler, policies.database().clone()),
    ];
    Ok((routes.routes(), databases))
}

/// Exports the heads of the audit trails, where the settings name a place; signed with a key made beside the control keys unless
/// they name another.
fn export_audit_heads(
    state_dir: &Path,
    config: &Config,
    databases: &[(ServiceName, Database)],
    tasks: &Tasks,
) -> Result<()> {
    let mut settings = config.audit.clone();
    if settings.has_destination() && settings.signing_key.is_none() {
        let directory = config.gateway.control_keys.as_deref();
        let path = directory.unwrap_or(state_dir).join("audit.key");
        if !path.exists() {
            let key = create_audit_key(&path)?.public();
            tracing::warn!(path = %path.display(), %key, "a new audit key was made: heads of the audit trails are signed by it");
        }
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        settings.signing_key = Some(Secret::new(text));
    }
    for (service, database) in databases {
        if let Some(exporter) = HeadExporter::new(database.clone(), *service, &settings)? {
            tasks.spawn_background("export-audit-heads", exporter.run());
        }
    }
    Ok(())
}

/// Makes the clients' certificate anew in time while the process runs; the listener reads it again by itself.
async fn keep_certificate(directory: PathBuf, host: String) {
    loop {
        tokio::time::sleep(DAY).await;
        if let Err(error) = tls::keep_listener_certificate(&directory, &host, today()) {
            tracing::error!("the certificate can not be kept: {error:#}");
        }
    }
}

fn today() -> NaiveDate {
    SystemClock.now().date_naive()
}

/// Serves administrators on the local socket; `has_relay` is what `bowline status` tells of relays.
fn listen_for_administrators(
    state_dir: &Path,
    routes: Routes,
    has_relay: bool,
    tasks: &Tasks,
) -> Result<()> {
    let listeners = Listeners::default()
        .with_admin_socket(&state_dir.join("admin.sock"))?
        .with_health(RELAY_HEALTH, has_relay);
    let shutdown = tasks.shutdown().clone();
    let descriptors = bowline_proto::DESCRIPTOR_SET;
    tasks.spawn_critical(
        "administrators",
        serve(routes, descriptors, listeners, shutdown),
    );
    Ok(())
}

#[cfg(test)]
mod tests;
