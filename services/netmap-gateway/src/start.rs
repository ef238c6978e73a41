//! Puts a gateway together.

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use bowline_acme::{AcmePlan, AcmeResolver, StartAcmeError};
use bowline_bus::Bus;
use bowline_clock::{SharedClock, random_bytes};
use bowline_control_nacl::ReplayCache;
use bowline_control_wire::DerpMap;
use bowline_service_kit::{ServeError, Tasks, listen_tcp, relay_permits::RelayPermits};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    Backends, DerpMapError, Gateway, GatewayConfig, PlainAdminAddress, UnfitSettings, admin,
    config::CertificateSource,
    control_keys::{CurrentControlKeys, ReadKeysError},
    derp_map, http,
    lease::{Lease, LeaseFacts, lease_slot},
    listener::{Listener, ListenerLimits, Proxies},
    machine::{FollowupWaits, RefusalLog},
    pace::ReportPace,
    reporter::Reporter,
    session::Deliveries,
    tailnet::TailnetHub,
    tls::{TlsError, build_acceptor, build_acme_acceptor},
    turns::Turns,
};

/// How many (machine key, nonce) pairs are remembered against replay.
const REPLAYS: usize = 100_000;

/// What a gateway is built from.
#[derive(Debug)]
pub struct Dependencies {
    /// The services behind it.
    pub backends: Backends,
    /// Where hints come from.
    pub bus: Bus,
    /// The time.
    pub clock: SharedClock,
    /// Runs what goes on in the background.
    pub tasks: Tasks,
    /// The relays that clients use, unless the settings name others.
    pub derp_map: DerpMap,
    /// Further addresses on the same listener: those of the portal.
    pub more_routes: Router,
    /// Where people and programs administer with tokens; nowhere when absent.
    pub admin_listen: Option<SocketAddr>,
}

/// Why a gateway can not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can not be listened on.
    #[error("can not listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The control keys can not be used.
    #[error(transparent)]
    Keys(#[from] ReadKeysError),
    /// The certificate can not be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No certificate can be ordered.
    #[error(transparent)]
    Acme(#[from] StartAcmeError),
    /// The settings do not fit together.
    #[error(transparent)]
    Settings(#[from] UnfitSettings),
    /// Tokens would travel in the clear.
    #[error(transparent)]
    PlainAdmin(#[from] PlainAdminAddress),
    /// What reflection tells at the administration address does not parse.
    #[error(transparent)]
    Introspection(#[from] ServeError),
    /// The file of the DERP map can not be used.
    #[error(transparent)]
    DerpMap(#[from] DerpMapError),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Started {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where people and programs administer with tokens.
    pub admin_address: Option<SocketAddr>,
    /// Its parts.
    pub gateway: Arc<Gateway>,
}

/// Starts a gateway: it serves when this returns, until the tasks end.
///
/// # Errors
///
/// [`StartError`].
pub fn start(
    mut config: GatewayConfig,
    dependencies: Dependencies,
) -> BoxFuture<'static, Result<Started, StartError>> {
    // Boxed: it is compiled here once, and not again in each crate that awaits it.
    Box::pin(async move {
        // Paths are appended to it.
        config.public_url = config.public_url.trim_end_matches('/').to_owned();
        let ClientTls {
            acceptor: tls,
            ordered,
        } = ClientTls::open(&config)?;
        let keys = CurrentControlKeys::open(config.control_key_source(), &dependencies.tasks);
        let keys = keys.await?;
        // It is there before the first client: whoever scales gateways by it counts those without one, too.
        metrics::gauge!("bowline_gateway_map_sessions").increment(0);
        let (socket, address) = listen_at(config.listen)?;
        let Dependencies {
            backends,
            bus,
            clock,
            tasks,
            derp_map,
            more_routes,
            admin_listen,
        } = dependencies;
        let first = derp_map::load_initial(&config, derp_map).await?;
        let incarnation = u64::from_be_bytes(random_bytes()).to_string();
        let hub = start_hub(&config, &backends, &bus, first, &tasks);
        let registry = backends.registry.clone();
        let proxies = Proxies {
            trusted: config.trusted_proxies.clone(),
            write_headers: config.proxy_protocol,
        };
        // A request is secured when TLS ends here or at a proxy.
        let is_secured = tls.is_some() || config.is_https();
        let admin_address = admin_listen.map(|listen| {
            let (tls, proxies) = (tls.clone(), proxies.clone());
            listen_for_administrators(listen, tls, proxies, &backends, &tasks)
        });
        let admin_address = admin_address.transpose()?;
        let front = ListenerLimits::new(config.max_connections, proxies, is_secured);
        let reporter = Reporter::start(incarnation.clone(), registry.clone(), &tasks);
        let leaving = CancellationToken::new();
        let facts = lease_facts(incarnation, address, &config, &keys);
        let lease = Lease::new(facts, registry);
        let gateway = Arc::new(Gateway {
            lease_renewed_at: lease.keep_renewed(
                Arc::clone(&hub),
                reporter.clone(),
                leaving.clone(),
                &tasks,
            ),
            report_pace: ReportPace::new(reporter.clone(), tasks.clone()),
            deliveries: Deliveries::start(&tasks),
            reporter,
            turns: Arc::new(Turns::default()),
            followup_waits: FollowupWaits::new(),
            refusal_log: RefusalLog::default(),
            relay_permits: RelayPermits::new(backends.registry.clone(), backends.identity.clone()),
            replays: parking_lot::Mutex::new(ReplayCache::new(REPLAYS)),
            config,
            keys,
            backends,
            hub,
            clock,
            tasks: tasks.clone(),
        });
        let routes = http::public_routes(Arc::clone(&gateway)).merge(more_routes);
        let listener = Listener {
            tls,
            routes,
            limits: front,
        };
        let serving = listener.run(socket, tasks.clone());
        tasks.spawn_critical("listen", serve(serving, Arc::clone(&gateway), leaving));
        if let Some(plan) = ordered {
            // Challenges are answered from now on.
            bowline_acme::start(plan, gateway.clock.clone(), &gateway.tasks)?;
        }
        Ok(Started {
            address,
            admin_address,
            gateway,
        })
    })
}

/// What speaks TLS with clients, where this process does, and what is to be ordered for it.
struct ClientTls {
    acceptor: Option<TlsAcceptor>,
    ordered: Option<AcmePlan>,
}

impl ClientTls {
    fn open(config: &GatewayConfig) -> Result<Self, StartError> {
        let mut ordered = None;
        let acceptor = match config.certificate()? {
            CertificateSource::None => None,
            CertificateSource::Files { certificate, key } => {
                Some(build_acceptor(certificate, key)?)
            }
            CertificateSource::Acme(plan) => {
                let resolver = AcmeResolver::open(&plan).map_err(StartAcmeError::from)?;
                ordered = Some(plan);
                Some(build_acme_acceptor(Arc::new(resolver)))
            }
        };
        Ok(Self { acceptor, ordered })
    }
}

/// Listens, and says where: at another port when 0 was asked for.
fn listen_at(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen(listen, error);
    let socket = listen_tcp(listen).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

/// Returns what the registry is told of this gateway.
fn lease_facts(
    incarnation: String,
    address: SocketAddr,
    config: &GatewayConfig,
    keys: &Arc<CurrentControlKeys>,
) -> LeaseFacts {
    LeaseFacts {
        gateway: incarnation,
        slot: lease_slot(address),
        max_staleness: config.max_staleness(),
        keys: Arc::clone(keys),
    }
}

/// Starts what follows the tailnets, and keeps its map of relays up to date.
fn start_hub(
    config: &GatewayConfig,
    backends: &Backends,
    bus: &Bus,
    first: derp_map::InitialDerpMap,
    tasks: &Tasks,
) -> Arc<TailnetHub> {
    let (relays, sources) = (first.map.clone(), config.filter_sources);
    let hub = Arc::new(TailnetHub::new(backends, bus, relays, sources, tasks));
    if let Some(url) = config.derp_map_url.clone() {
        let updated = Arc::clone(&hub);
        let replace = move |map| updated.replace_relays(map);
        let refreshing = derp_map::keep_refreshed(url, first, derp_map::PACE, replace);
        tasks.spawn_background("derp-map", refreshing);
    }
    hub
}

/// Serves people and programs who administer with tokens, and returns where.
fn listen_for_administrators(
    listen: SocketAddr,
    tls: Option<TlsAcceptor>,
    proxies: Proxies,
    backends: &Backends,
    tasks: &Tasks,
) -> Result<SocketAddr, StartError> {
    admin::check_address(listen, tls.is_some())?;
    let (socket, address) = listen_at(listen)?;
    let listener = Listener {
        routes: admin::admin_routes(backends.clone(), bowline_proto::DESCRIPTOR_SET)?,
        limits: ListenerLimits::for_administrators(proxies, tls.is_some()),
        tls,
    };
    tasks.spawn_critical("administration", listener.run(socket, tasks.clone()));
    Ok(address)
}

/// Serves until a drain has closed the last connection, and the registry knows that the sessions have ended.
async fn serve(
    serving: impl Future<Output = io::Result<()>>,
    gateway: Arc<Gateway>,
    leaving: CancellationToken,
) -> io::Result<()> {
    serving.await?;
    gateway.report_pace.pass_all_on();
    gateway.reporter.wait_until_flushed().await;
    leaving.cancel();
    let mut lease = gateway.lease_renewed_at.clone();
    while lease.changed().await.is_ok() {}
    Ok(())
}
