//! The settings of `bowline serve`: one file, and what the command line overrides.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
};

use anyhow::Result;
use bowline_identity::IdentityConfig;
use bowline_key_registry::RegistryConfig;
use bowline_netmap_gateway::GatewayConfig;
use bowline_service_kit::{
    AuditConfig, config, error_text, process::AdminConfig, telemetry::TelemetryConfig,
};
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
    /// `[admin]`: where people and programs administer with tokens.
    pub admin: AdminConfig,
    /// `[audit]`: where the heads of the audit trails are exported to.
    pub audit: AuditConfig,
    /// `[identity]`: who may log in, and how.
    pub identity: IdentityConfig,
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
#[expect(
    clippy::disallowed_methods,
    reason = "variables are part of the settings"
)]
pub fn load_config(options: &Options) -> Result<Config> {
    let mut config = config::load(config_file(options).as_deref(), std::env::vars())?;
    apply_options(options, &mut config);
    config.gateway.check()?;
    Ok(config)
}

/// What a look at the settings says, without a server being started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReport {
    /// What hinders a start.
    pub problems: Vec<String>,
    /// What a start warns of.
    pub warnings: Vec<String>,
}

/// Reads the settings as [`load`] does and says everything that is wrong with them, and with the files they name.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "variables are part of the settings"
)]
pub fn check_config(options: &Options) -> ConfigReport {
    let found = config::check::<Config>(config_file(options).as_deref(), std::env::vars());
    let mut problems: Vec<_> = found
        .problems
        .iter()
        .map(|error| error_text(error))
        .collect();
    let Some(mut config) = found.config else {
        return ConfigReport {
            problems,
            warnings: Vec::new(),
        };
    };
    apply_options(options, &mut config);
    let unfit = config.gateway.check().err();
    let unfit = unfit.into_iter().flat_map(|unfit| unfit.0);
    problems.extend(unfit.map(|problem| problem.to_string()));
    let gateway = &config.gateway;
    for (setting, file) in [
        ("certificate_file", &gateway.certificate_file),
        ("key_file", &gateway.key_file),
        ("acme.directory_ca_file", &gateway.acme.directory_ca_file),
        ("derp_map_file", &gateway.derp_map_file),
    ] {
        let Some(file) = file else { continue };
        if let Err(error) = std::fs::File::open(file) {
            let file = file.display();
            problems.push(format!("{setting}: {file} can not be read: {error}"));
        }
    }
    let warnings = config.warnings();
    ConfigReport { problems, warnings }
}

/// Returns the file that the settings are read from, when there is one.
fn config_file(options: &Options) -> Option<PathBuf> {
    let usual = options.state_dir.join("bowline.toml");
    let named = options.config.clone();
    named.or_else(|| usual.is_file().then_some(usual))
}

/// Puts the command line over the settings, and finds what they leave open.
fn apply_options(options: &Options, config: &mut Config) {
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
    // Both are refused where they are named, later.
    if gateway.control_keys.is_some() || gateway.control_keys_command.is_none() {
        let named = gateway.control_keys.take();
        let named = named.unwrap_or_else(|| PathBuf::from("control-keys"));
        gateway.control_keys = Some(in_state_dir(&options.state_dir, &named));
    }
    gateway.acme.state_dir = in_state_dir(&options.state_dir, &gateway.acme.state_dir);
    let directory = config.audit.directory.as_mut();
    if let Some(directory) = directory {
        *directory = in_state_dir(&options.state_dir, directory);
    }
}

impl Config {
    /// Returns what the settings leave clients without.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let text = "clients have no relay: they stay in the state \"Starting\" and reach nobody, unless the policy of \
                    their tailnet brings relays (derpMap). Set relay.enabled = true, or name relays with \
                    gateway.derp_map_url or gateway.derp_map_file";
        (!self.has_relay())
            .then(|| text.to_owned())
            .into_iter()
            .collect()
    }

    /// Says whether clients have a relay, the own one or others.
    pub(crate) fn has_relay(&self) -> bool {
        self.relay.enabled || self.has_outside_relays()
    }

    /// Says whether clients are told of relays of others, in place of the own one.
    pub(crate) fn has_outside_relays(&self) -> bool {
        self.gateway.derp_map_url.is_some() || self.gateway.derp_map_file.is_some()
    }

    /// Returns the ports that clients have to reach.
    pub(crate) fn describe_ports(&self) -> String {
        let port = self.gateway.listen.port();
        match self.relay.enabled && !self.has_outside_relays() {
            true => {
                let (relay, stun) = (self.relay.listen.port(), self.relay.stun_listen.port());
                format!("TCP {port} and {relay}, UDP {stun}")
            }
            false => format!("TCP {port}"),
        }
    }
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
