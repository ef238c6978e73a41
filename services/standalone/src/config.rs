//! The settings of `bowline serve`: one file, and what the command line overrides.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
};

use anyhow::Result;
use bowline_key_registry::RegistryConfig;
use bowline_netmap_gateway::GatewayConfig;
use bowline_service_kit::{config, telemetry::TelemetryConfig};
use serde::Deserialize;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept.
    pub state_dir: PathBuf,
    /// The settings file; `bowline.toml` in the state directory when there is one.
    pub config: Option<PathBuf>,
    /// Where clients connect.
    pub listen: Option<SocketAddr>,
    /// The URL clients are given.
    pub public_url: Option<String>,
}

/// The settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[gateway]`: where clients connect.
    pub gateway: GatewayConfig,
    /// `[registry]`: times of nodes.
    pub registry: RegistryConfig,
    /// `[relay]`: the relay of this process.
    pub relay: RelayConfig,
    /// `[telemetry]`: logs and metrics.
    pub telemetry: TelemetryConfig,
    /// How long a drain takes at most, in seconds.
    pub drain_seconds: Option<u64>,
}

/// The `[relay]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayConfig {
    /// Whether this process relays.
    pub enabled: bool,
    /// Where clients connect with DERP over TLS.
    pub listen: SocketAddr,
    /// Where clients ask for their public address with STUN.
    pub stun_listen: SocketAddr,
}

impl Default for RelayConfig {
    fn default() -> Self {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            enabled: true,
            listen: SocketAddr::new(any, 8444),
            stun_listen: SocketAddr::new(any, 3478),
        }
    }
}

/// Reads the settings, and checks that they fit together.
///
/// # Errors
///
/// What is wrong with the file or the environment.
pub fn load(options: &Options) -> Result<Config> {
    let usual = options.state_dir.join("bowline.toml");
    let path = options
        .config
        .clone()
        .or_else(|| usual.is_file().then_some(usual));
    let mut config: Config = config::load(path.as_deref(), std::env::vars())?;
    let gateway = &mut config.gateway;
    if let Some(listen) = options.listen {
        gateway.listen = listen;
    }
    if let Some(url) = &options.public_url {
        gateway.public_url.clone_from(url);
    } else if gateway.public_url.is_empty() {
        let address = SocketAddr::new(own_address(), gateway.listen.port());
        gateway.public_url = format!("https://{address}");
    }
    gateway.public_url = gateway.public_url.trim_end_matches('/').to_owned();
    gateway.control_keys = in_state_dir(&options.state_dir, &gateway.control_keys);
    gateway.check()?;
    Ok(config)
}

fn in_state_dir(state_dir: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() {
        path.to_owned()
    } else {
        state_dir.join(path)
    }
}

/// Returns the address other machines reach this one at, as far as the routing table knows; nothing is sent.
fn own_address() -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
