//! `[service]` of identity's settings, and `[identity]` of a server in one process.

use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_sealing::{SealingError, SealingKeys};
use bowline_service_kit::config::Secret;
use ipnet::IpNet;
use serde::Deserialize;

use std::time::Duration;

/// What a provider's answer may take.
const PROVIDER_LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 1 << 20,
    deadline: Duration::from_secs(10),
};

/// What only identity knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// The keys that seal the secrets of identity providers, the same for all replicas: the text of the file that
    /// `bowline sealing-key create` makes. Without them there are no connections to providers.
    pub sealing_key: Option<Secret>,
    /// Networks that are not public and in which identity providers may be asked, such as `10.0.0.0/8`.
    pub provider_networks: Vec<IpNet>,
    /// The URL that browsers reach the gateway by, to tell administrators the addresses that a provider is to be given.
    pub public_url: String,
}

impl IdentityConfig {
    /// Reads the keys that seal.
    ///
    /// # Errors
    ///
    /// Which line is no key.
    pub(crate) fn read_sealing_keys(&self) -> Result<Option<SealingKeys>, SealingError> {
        let text = self.sealing_key.as_ref().map(Secret::expose);
        text.map(|text| SealingKeys::parse(text)).transpose()
    }

    /// Returns how providers are asked.
    pub(crate) fn provider_client(&self) -> HttpClient {
        let also = self.provider_networks.clone();
        HttpClient::new(Destinations::Public { also }, PROVIDER_LIMITS)
    }
}
