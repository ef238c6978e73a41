//! The gateway's settings.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::Uri;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::tailnet::Sources;

/// The `[gateway]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The URL clients were given, without a trailing slash: what auth URLs begin with. `bowline serve` finds one
    /// by itself when it is empty.
    pub public_url: String,
    /// TLS certificate chain (PEM). Without one the listener speaks plain HTTP, where `public_url` begins with `http://`;
    /// else `bowline serve` makes one, and a gateway by itself does not start.
    pub certificate_file: Option<PathBuf>,
    /// TLS private key (PEM).
    pub key_file: Option<PathBuf>,
    /// The directory with the control keys: `noise.key`, `legacy.key`, and `*.previous.key` while rolling.
    pub control_keys: PathBuf,
    /// Clients that speak both transports are offered a zero Noise key below this capability version, so that they
    /// use crypto_box; zero: never.
    pub nacl_below: u16,
    /// Whether crypto_box requests are served without TLS: nothing then protects them from replay at another gateway.
    pub plain_http_boxes: bool,
    /// Where the DERP map (JSON) is fetched, at the start and every ten minutes: `https://…`, or `http://…`. The last
    /// good map stays while it can not be.
    #[serde(deserialize_with = "url")]
    pub derp_map_url: Option<Uri>,
    /// The DERP map's file (JSON), used while none could be fetched; without file and URL the map has the relay of this
    /// process, if any.
    pub derp_map_file: Option<PathBuf>,
    /// The token in `/verify/<token>`, where relays ask whom they may serve; without one the page is off.
    pub verify_token: Option<String>,
    /// How packet filters name the nodes that may send: `addresses`, or `capabilities`, which are shorter and change
    /// less in tailnets where many nodes share rules.
    pub filter_sources: Sources,
    /// How long map sessions live and known nodes are readmitted while the registry can not be reached, in seconds.
    pub max_staleness_seconds: u64,
    /// The most connections at once.
    pub max_connections: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            public_url: String::new(),
            certificate_file: None,
            key_file: None,
            control_keys: PathBuf::from("control-keys"),
            nacl_below: 0,
            plain_http_boxes: false,
            derp_map_url: None,
            derp_map_file: None,
            verify_token: None,
            filter_sources: Sources::Addresses,
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
        "there is no certificate for {0}: set certificate_file and key_file; without TLS public_url begins with http://"
    )]
    NoCertificate(String),
    /// The public URL is missing.
    #[error(
        "public_url is not set: say what clients are given, such as https://bowline.example.com"
    )]
    NoPublicUrl,
    /// The public URL is none.
    #[error("public_url \"{0}\" is no URL for clients, such as https://bowline.example.com")]
    PublicUrl(String),
}

impl GatewayConfig {
    /// Checks what one key alone does not show.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], but not [`SettingsError::NoCertificate`]: whether one is made is not said here.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.public_url.is_empty() {
            return Err(SettingsError::NoPublicUrl);
        }
        let url = self.public_url.parse::<Uri>().ok();
        if !url.is_some_and(|url| is_http(&url)) {
            return Err(SettingsError::PublicUrl(self.public_url.clone()));
        }
        let half = |given, missing| Err(SettingsError::HalfPair { given, missing });
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => half("certificate_file", "key_file"),
            (None, Some(_)) => half("key_file", "certificate_file"),
            _ => Ok(()),
        }
    }

    /// Returns the certificate and its key; `None` where plain HTTP is asked for.
    ///
    /// # Errors
    ///
    /// [`SettingsError`].
    pub(crate) fn certificate(&self) -> Result<Option<(&PathBuf, &PathBuf)>, SettingsError> {
        self.check()?;
        let pair = self.certificate_file.as_ref().zip(self.key_file.as_ref());
        let is_plain = self.public_url.to_ascii_lowercase().starts_with("http://");
        if pair.is_none() && !is_plain {
            return Err(SettingsError::NoCertificate(self.public_url.clone()));
        }
        Ok(pair)
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

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uri>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = text.parse::<Uri>().ok().filter(is_http);
    let url = url.ok_or_else(|| D::Error::custom(format!("\"{text}\" is no https URL")))?;
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(public_url: &str, certificate: Option<&str>, key: Option<&str>) -> GatewayConfig {
        GatewayConfig {
            public_url: public_url.to_owned(),
            certificate_file: certificate.map(PathBuf::from),
            key_file: key.map(PathBuf::from),
            ..GatewayConfig::default()
        }
    }

    #[test]
    fn plain_http_is_served_only_where_the_url_says_so() {
        for url in ["http://x.example", "HTTP://x.example:80"] {
            assert_eq!(settings(url, None, None).certificate(), Ok(None));
        }
        for url in ["https://x.example", "https://[::1]:8443"] {
            let refused = settings(url, None, None).certificate().unwrap_err();
            assert_eq!(refused, SettingsError::NoCertificate(url.to_owned()));
            let pair = settings(url, Some("c"), Some("k"));
            assert!(pair.certificate().unwrap().is_some(), "{url}");
        }
    }

    #[test]
    fn half_a_pair_is_refused_by_name() {
        for url in ["https://x.example", "http://x.example"] {
            let refused = settings(url, Some("c"), None).certificate().unwrap_err();
            let text = "certificate_file is set and key_file is not: a certificate and its key go together";
            assert_eq!(refused.to_string(), text);
            let refused = settings(url, None, Some("k")).certificate().unwrap_err();
            assert!(
                refused.to_string().starts_with("key_file is set"),
                "{refused}"
            );
        }
    }

    #[test]
    fn public_url_is_one_that_clients_can_use() {
        assert_eq!(
            settings("", None, None).check(),
            Err(SettingsError::NoPublicUrl)
        );
        for url in [
            "x.example",
            "x.example:8443",
            "ftp://x.example",
            "https://",
            "/",
        ] {
            let refused = settings(url, None, None).check();
            assert_eq!(refused, Err(SettingsError::PublicUrl(url.to_owned())));
        }
    }
}
