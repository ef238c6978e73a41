//! The gateway's settings.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use bowline_acme::{AcmeConfig, AcmePlan, AcmeSettingsError};
use bowline_netmap::FilterSources;
use bowline_service_kit::config::Secret;
use http::Uri;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::control_keys::ControlKeySource;

/// The `[gateway]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The URL that clients are configured with, without a trailing slash. Auth URLs begin with it. When it is empty,
    /// `bowline serve` chooses one.
    pub public_url: String,
    /// Whether this process speaks TLS. When `false`, a proxy in front of it does: then only the proxy may reach this
    /// port, and `public_url` names the proxy.
    pub tls: bool,
    /// The networks of the proxies and balancers in front, such as `10.0.0.0/8`. Only they are believed when they name
    /// a client's address, in `X-Forwarded-For` and, with `proxy_protocol`, in a PROXY header.
    #[serde(deserialize_with = "parse_networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Whether these proxies write a PROXY header (version 1 or 2) before each connection.
    pub proxy_protocol: bool,
    /// TLS certificate chain (PEM). Without one the listener speaks plain HTTP, where `public_url` begins with `http://`;
    /// else `bowline serve` makes one, and a gateway by itself does not start.
    pub certificate_file: Option<PathBuf>,
    /// TLS private key (PEM).
    pub key_file: Option<PathBuf>,
    /// A certificate that is ordered and renewed by ACME, in place of one from files.
    pub acme: AcmeConfig,
    /// The directory with the control keys, `control-keys` when it is not set: `noise.key`, `legacy.key`, and `*.next.key` or
    /// `*.previous.key` while rolling. They are read again when they change.
    pub control_keys: Option<PathBuf>,
    /// A command that prints the control keys as `bowline control-keys export` does, such as one that asks a key management
    /// service, in place of the directory. It is run at the start, and then each minute, by `sh -c`.
    pub control_keys_command: Option<String>,
    /// Clients below this capability version are offered a zero Noise key, so that those which speak both transports
    /// use crypto_box. Zero turns this off.
    pub nacl_below: u16,
    /// Whether crypto_box requests are served without TLS. An eavesdropper can then replay one: at another gateway, or
    /// at this one when it has forgotten the request (after five minutes, or sooner in a flood). A replay repeats a
    /// report or a logout. Behind a proxy that speaks TLS (`tls = false`) this is not needed.
    pub plain_http_boxes: bool,
    /// The URL of the DERP map (JSON), `https://…` or `http://…`. It is fetched at the start and every ten minutes;
    /// when that fails, the last good map stays in use.
    #[serde(deserialize_with = "parse_url")]
    pub derp_map_url: Option<Uri>,
    /// A file with the DERP map (JSON), used until one was fetched. Without file and URL the map has the relay of this
    /// process, if there is one.
    pub derp_map_file: Option<PathBuf>,
    /// The token in `/verify/<token>`, where relays ask whom they may serve; at least 16 bytes. Without a token
    /// nothing is served there.
    pub verify_token: Option<Secret>,
    /// How packet filters name the nodes that may send: `addresses`, or `capabilities`, which are shorter and change
    /// less in tailnets where many nodes share rules.
    pub filter_sources: FilterSources,
    /// How long map sessions live and known nodes are readmitted while the registry can not be reached, in seconds.
    pub max_staleness_seconds: u64,
    /// The most connections at once.
    pub max_connections: usize,
}

/// The shortest token of `/verify`, in bytes.
const SHORTEST_TOKEN: usize = 16;

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            public_url: String::new(),
            tls: true,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            certificate_file: None,
            key_file: None,
            acme: AcmeConfig::default(),
            control_keys: None,
            control_keys_command: None,
            nacl_below: 0,
            plain_http_boxes: false,
            derp_map_url: None,
            derp_map_file: None,
            verify_token: None,
            filter_sources: FilterSources::Addresses,
            max_staleness_seconds: 3600,
            max_connections: 16_384,
        }
    }
}

/// Settings that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// One of certificate and key is missing.
    #[error("{given} is set and {missing} is not: a certificate and its key go together")]
    HalfPair {
        /// The one that is there.
        given: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// Clients are given an https URL, and there is nothing to speak TLS with.
    #[error(
        "there is no certificate for {0}: set certificate_file and key_file, or acme.agree_to_terms; without TLS public_url begins with http://"
    )]
    NoCertificate(String),
    /// The token that keeps strangers out is short enough to be guessed.
    #[error(
        "verify_token has {0} bytes, and at least {SHORTEST_TOKEN} keep strangers from guessing it: make one with `openssl rand -hex 16`, and give it to the relays"
    )]
    ShortToken(usize),
    /// The public URL is missing.
    #[error(
        "public_url is not set: say what clients are given, such as https://bowline.example.com"
    )]
    NoPublicUrl,
    /// The public URL is not a URL that clients can use.
    #[error("public_url \"{0}\" is no URL for clients, such as https://bowline.example.com")]
    PublicUrl(String),
    /// The public URL has more than a host.
    #[error(
        "public_url \"{url}\" has a {part}: clients ask at the root of a host, so it is only scheme, host and port, such as https://bowline.example.com:8443"
    )]
    PublicUrlPart {
        /// The URL.
        url: String,
        /// The part that does not belong there.
        part: &'static str,
    },
    /// Control keys come from two places.
    #[error("control_keys and control_keys_command are both set: name one of them")]
    TwoKeySources,
    /// PROXY headers are expected, and no proxy is trusted to write them.
    #[error(
        "proxy_protocol is set and trusted_proxies is not: say whose PROXY headers are believed, such as trusted_proxies = [\"10.0.0.0/8\"]"
    )]
    NoProxies,
    /// A certificate is set although this process does not speak TLS.
    #[error(
        "tls is false and certificate_file is set: where a proxy speaks TLS, the certificate is the proxy's"
    )]
    UnusedCertificate,
    /// A certificate is to be ordered, and nothing would show it.
    #[error(
        "acme.agree_to_terms is set and {0}: a certificate is ordered only for a listener that shows it"
    )]
    UnusedAcme(&'static str),
    /// A setting of ACME does not fit.
    #[error(transparent)]
    Acme(#[from] AcmeSettingsError),
}

/// Where the certificate comes from that clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateSource<'c> {
    /// There is none: this process does not speak TLS.
    None,
    /// Files.
    Files {
        /// The chain.
        certificate: &'c Path,
        /// Its key.
        key: &'c Path,
    },
    /// An authority, by ACME.
    Acme(AcmePlan),
}

/// All settings that do not fit together, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitSettings(pub Vec<SettingsError>);

impl fmt::Display for UnfitSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            let before = if number == 0 { "" } else { "\n" };
            write!(formatter, "{before}{problem}")?;
        }
        Ok(())
    }
}

impl Error for UnfitSettings {}

impl GatewayConfig {
    /// Checks settings that can be right alone and wrong together.
    ///
    /// # Errors
    ///
    /// Every problem but [`SettingsError::NoCertificate`]: `bowline serve` makes a certificate after this check.
    pub fn check(&self) -> Result<(), UnfitSettings> {
        let mut problems = Vec::new();
        problems.extend(self.url_problem());
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            problems.push(SettingsError::NoProxies);
        }
        if !self.tls && self.certificate_file.is_some() {
            problems.push(SettingsError::UnusedCertificate);
        }
        if self.control_keys.is_some() && self.control_keys_command.is_some() {
            problems.push(SettingsError::TwoKeySources);
        }
        let token = self
            .verify_token
            .as_ref()
            .map_or("", |token| token.expose());
        if (1..SHORTEST_TOKEN).contains(&token.len()) {
            problems.push(SettingsError::ShortToken(token.len()));
        }
        let mut half = |given, missing| problems.push(SettingsError::HalfPair { given, missing });
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => half("certificate_file", "key_file"),
            (None, Some(_)) => half("key_file", "certificate_file"),
            _ => {}
        }
        match self
            .acme
            .plan(self.public_host().as_deref().unwrap_or_default())
        {
            Ok(Some(_)) => problems.extend(self.acme_problem()),
            Ok(None) => {}
            Err(unfit) => problems.extend(unfit.0.into_iter().map(SettingsError::Acme)),
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(UnfitSettings(problems))
        }
    }

    fn url_problem(&self) -> Option<SettingsError> {
        if self.public_url.is_empty() {
            return Some(SettingsError::NoPublicUrl);
        }
        let url = self.public_url.parse::<Uri>().ok();
        let Some(url) = url.filter(is_http) else {
            return Some(SettingsError::PublicUrl(self.public_url.clone()));
        };
        let part = part_beyond_host(&self.public_url, &url)?;
        let url = self.public_url.clone();
        Some(SettingsError::PublicUrlPart { url, part })
    }

    /// Returns what hinders a certificate by ACME beside its own settings.
    fn acme_problem(&self) -> Option<SettingsError> {
        let reason = if !self.tls {
            "tls is false"
        } else if !self.is_https() {
            "public_url begins with http://"
        } else if self.certificate_file.is_some() {
            "certificate_file is, too"
        } else {
            return None;
        };
        Some(SettingsError::UnusedAcme(reason))
    }

    fn public_host(&self) -> Option<String> {
        let url = self.public_url.parse::<Uri>().ok()?;
        url.host().map(str::to_owned)
    }

    /// Returns how a certificate is had by ACME; `None` where that is not asked for.
    ///
    /// # Errors
    ///
    /// [`UnfitSettings`].
    pub fn acme_plan(&self) -> Result<Option<AcmePlan>, UnfitSettings> {
        let host = self.public_host().unwrap_or_default();
        let plan = self.acme.plan(&host);
        plan.map_err(|unfit| UnfitSettings(unfit.0.into_iter().map(SettingsError::Acme).collect()))
    }

    /// Returns where the certificate comes from that clients are shown.
    ///
    /// # Errors
    ///
    /// [`UnfitSettings`].
    pub(crate) fn certificate(&self) -> Result<CertificateSource<'_>, UnfitSettings> {
        self.check()?;
        if let Some(plan) = self.acme_plan()? {
            return Ok(CertificateSource::Acme(plan));
        }
        match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Ok(CertificateSource::Files { certificate, key }),
            _ if self.tls && self.is_https() => {
                let missing = SettingsError::NoCertificate(self.public_url.clone());
                Err(UnfitSettings(vec![missing]))
            }
            _ => Ok(CertificateSource::None),
        }
    }

    /// Returns where the control keys come from.
    pub(crate) fn control_key_source(&self) -> ControlKeySource {
        match &self.control_keys_command {
            Some(command) => ControlKeySource::Command(command.clone()),
            None => {
                let directory = self.control_keys.clone();
                let usual = || PathBuf::from("control-keys");
                ControlKeySource::Directory(directory.unwrap_or_else(usual))
            }
        }
    }

    /// Says whether clients are given an https URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        !self.public_url.to_ascii_lowercase().starts_with("http://")
    }

    /// Returns how long known nodes are readmitted while the registry can not be reached.
    #[must_use]
    pub fn max_staleness(&self) -> Duration {
        Duration::from_secs(self.max_staleness_seconds)
    }
}

fn is_http(url: &Uri) -> bool {
    let has_host = url.host().is_some_and(|host| !host.is_empty());
    matches!(url.scheme_str(), Some("http" | "https")) && has_host
}

/// Returns what a URL has beside scheme, host and port.
fn part_beyond_host(text: &str, url: &Uri) -> Option<&'static str> {
    // A parsed URL has no fragment any more.
    if text.contains('#') {
        Some("fragment")
    } else if url.query().is_some() {
        Some("query")
    } else if !matches!(url.path(), "" | "/") {
        Some("path")
    } else if url
        .authority()
        .is_some_and(|host| host.as_str().contains('@'))
    {
        Some("user name")
    } else {
        None
    }
}

/// Reads networks; an address alone is a network of one.
fn parse_networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: &String| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or_else(|_| address());
        network.map_err(|_| {
            D::Error::custom(format!(
                "\"{text}\" is no network, such as 10.0.0.0/8 or 192.0.2.1"
            ))
        })
    };
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(network)
        .collect()
}

fn parse_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uri>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = text.parse::<Uri>().ok().filter(is_http);
    let url = url.ok_or_else(|| D::Error::custom(format!("\"{text}\" is no https URL")))?;
    Ok(Some(url))
}

#[cfg(test)]
mod tests;
