//! The relay of this process, and the map that tells clients of it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use bowline_acme::{AcmeConfig, AcmePlan, AcmeResolver, TLS_ALPN};
use bowline_clock::{Clock as _, SystemClock, random_bytes};
use bowline_keys::PrivateKey;
use bowline_netmap_gateway::{DerpMap, DerpNode, DerpRegion};
use bowline_relay::{Limits, Relay, RelayOptions, Sockets};
use bowline_service_kit::{
    GrpcChannel, Shutdown, Tasks, descriptors, install_crypto_provider, listen_tcp,
    telemetry::{self, TelemetryConfig},
};
use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use rustls::ServerConfig;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::{RelayConfig, admission::RegistryAdmission, tls};

/// The region of this process's relay. It has to be one that nobody takes for relays of their own: guides and policies
/// take 900 to 999, other servers 1000, the hosted service counts up from 1; and it has to fit into a port, which is
/// where older clients write it.
const REGION: u32 = 2695;

/// The services a relay asks whom it may serve.
#[derive(Clone, Debug)]
pub struct RelayBackends {
    /// Key registry: whose a node key is.
    pub registry: GrpcChannel,
    /// Identity: whether a user is suspended.
    pub identity: GrpcChannel,
}

/// What the relay's certificate depends on.
#[derive(Clone, Copy, Debug)]
pub struct RelayPlace<'p> {
    /// Where the certificate is kept.
    pub state_dir: &'p Path,
    /// The name or address clients reach the relay at.
    pub host: &'p str,
    /// The day of the start.
    pub today: NaiveDate,
    /// What is ordered by ACME: where it is for this host, clients are shown that.
    pub ordered: Option<&'p AcmePlan>,
}

/// What a relay speaks TLS with.
struct RelayTls {
    config: Arc<ServerConfig>,
    /// The hash that clients know the certificate by; `None` where it is from an authority that they trust.
    hash: Option<String>,
}

impl RelayTls {
    fn open(place: RelayPlace<'_>) -> Result<Self> {
        let RelayPlace {
            state_dir,
            host,
            today,
            ordered,
        } = place;
        if let Some(plan) = ordered.filter(|plan| plan.is_for(host)) {
            let resolver = AcmeResolver::open(plan).context("acme.state_dir")?;
            let mut config = ServerConfig::builder()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(resolver));
            config.alpn_protocols = vec![TLS_ALPN.to_vec()];
            return Ok(Self {
                config: Arc::new(config),
                hash: None,
            });
        }
        let pinned = tls::keep_relay_certificate(&state_dir.join("tls"), host, today)?;
        Ok(Self {
            config: pinned.config,
            hash: Some(pinned.hash),
        })
    }
}

/// Starts the relay and returns the map with it. It serves as many connections as it has files for.
pub async fn start(
    config: &RelayConfig,
    place: RelayPlace<'_>,
    owners: RelayBackends,
    files: usize,
    tasks: &Tasks,
) -> Result<DerpMap> {
    let host = place.host;
    let connections = descriptors::bound_connections("relay", Limits::default().connections, files);
    let tls = RelayTls::open(place)?;
    let http = listen_tcp(config.listen)
        .with_context(|| format!("the relay can not listen on {}", config.listen))?;
    let stun = UdpSocket::bind(config.stun_listen)
        .await
        .with_context(|| format!("the relay can not answer STUN on {}", config.stun_listen))?;
    let map = derp_map(
        host,
        http.local_addr()?.port(),
        stun.local_addr()?.port(),
        tls.hash.as_deref(),
    );
    let relay = Relay::new(RelayOptions {
        // Clients know a relay by its certificate: its key may change with each start.
        private_key: PrivateKey::from_random(random_bytes()),
        admission: Arc::new(RegistryAdmission::new(owners.registry, owners.identity)),
        limits: Limits {
            connections,
            ..Limits::default()
        },
    });
    let ended = CancellationToken::new();
    let (shutdown, end) = (tasks.shutdown().clone(), ended.clone());
    tasks.spawn_background("relay-drain", async move {
        shutdown.wait_for_drain().await;
        end.cancel();
    });
    let sockets = Sockets {
        http: vec![http],
        stun: vec![stun],
    };
    tasks.spawn("relay", async move {
        relay.serve(sockets, Some(tls.config), ended).await
    });
    Ok(map)
}

/// How a relay runs as a process of its own.
#[derive(Clone, Debug)]
pub struct RelayProcess {
    /// Where its certificate is kept.
    pub state_dir: PathBuf,
    /// Where clients reach it, as far as it listens.
    pub config: RelayConfig,
    /// The name or address clients reach it at.
    pub host: String,
    /// The services it asks.
    pub owners: RelayBackends,
    /// Where the map for the gateways is written.
    pub map: PathBuf,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub telemetry_listen: SocketAddr,
    /// Whether, and how, its certificate is ordered by ACME.
    pub acme: AcmeConfig,
}

/// Relays until a signal, as a process of its own beside separate services; writes the map for the gateways.
///
/// # Errors
///
/// What hinders it.
pub fn run(process: RelayProcess) -> BoxFuture<'static, Result<()>> {
    // Boxed: it is compiled here once, and not again in each crate that awaits it.
    Box::pin(async move {
        install_crypto_provider();
        let telemetry = telemetry::init(&TelemetryConfig::default())?;
        descriptors::raise_limit();
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(5)));
        let listener = telemetry::listen_for_probes(process.telemetry_listen)?;
        let RelayProcess {
            state_dir,
            config,
            host,
            owners,
            map,
            acme,
            ..
        } = process;
        let ordered = acme.plan(&host)?;
        let place = RelayPlace {
            state_dir: &state_dir,
            host: &host,
            today: SystemClock.now().date_naive(),
            ordered: ordered.as_ref(),
        };
        let files = descriptors::available_connections();
        let relays = start(&config, place, owners, files, &tasks).await?;
        if let Some(plan) = ordered {
            // Challenges are answered from now on.
            bowline_acme::start(plan, Arc::new(SystemClock), &tasks)?;
        }
        write_whole(&map, &serde_json::to_vec_pretty(&relays)?)
            .with_context(|| format!("the DERP map {} can not be written", map.display()))?;
        let serving = telemetry.clone().serve(listener, tasks.shutdown().clone());
        tasks.spawn_companion("telemetry", serving);
        telemetry.mark_ready();
        Ok(tasks.run().await?)
    })
}

/// Writes a file that others read at any time: they find the old text or the new one.
fn write_whole(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    std::fs::write(&hidden, text)?;
    std::fs::rename(&hidden, path)
}

fn derp_map(host: &str, derp_port: u16, stun_port: u16, hash: Option<&str>) -> DerpMap {
    let address = host.parse::<IpAddr>().ok();
    let node = DerpNode {
        name: format!("{REGION}a"),
        region_id: REGION,
        host_name: host.to_owned(),
        cert_name: hash.map_or_else(String::new, |hash| format!("sha256-raw:{hash}")),
        ipv4: match address {
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(_)) | None => String::new(),
        },
        ipv6: match address {
            Some(IpAddr::V6(ip)) => ip.to_string(),
            Some(IpAddr::V4(_)) => "none".to_owned(),
            None => String::new(),
        },
        stun_port: stun_port.into(),
        derp_port,
        // Clients that know the hash check it all the same; older ones can not check a certificate of our own.
        insecure_for_tests: hash.is_some(),
        ..DerpNode::default()
    };
    let region = DerpRegion {
        region_id: REGION,
        region_code: "bowline".to_owned(),
        region_name: "Bowline".to_owned(),
        nodes: vec![node],
        ..DerpRegion::default()
    };
    DerpMap {
        regions: BTreeMap::from([(REGION, region)]),
        omit_default_regions: true,
        ..DerpMap::default()
    }
}
