//! `[service]` of identity's settings, and `[identity]` of a server in one process.

use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_sealing::{SealingError, SealingKeys};
use bowline_service_kit::{KeyCommandError, config::Secret, run_key_command};
use ipnet::IpNet;
use serde::Deserialize;

use std::time::Duration;

/// What a provider's answer may take.
const PROVIDER_LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 1 << 20,
    deadline: Duration::from_secs(10),
};

/// What the answer of a webhook's receiver may take; nothing in it counts but its status.
const WEBHOOK_LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 64 << 10,
    deadline: Duration::from_secs(10),
};

/// Why there are no sealing keys.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The text is no list of keys.
    #[error("sealing_key: {0}")]
    Text(#[from] SealingError),
    /// The keys come from two places.
    #[error("sealing_key and sealing_key_command are both set: name one of them")]
    Both,
    /// The command can not be run, or fails.
    #[error("sealing_key_command: {0}")]
    Command(#[from] KeyCommandError),
}

/// What only identity knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// The keys that seal the secrets of identity providers, the same for all replicas: the text of the file that
    /// `bowline sealing-key create` makes. Without them there are no connections to providers.
    pub sealing_key: Option<Secret>,
    /// A command that prints that text, such as one that asks a key management service. It is run once at the start, by
    /// `sh -c`, in place of `sealing_key`.
    pub sealing_key_command: Option<String>,
    /// Networks that are not public and in which identity providers may be asked, such as `10.0.0.0/8`.
    pub provider_networks: Vec<IpNet>,
    /// Networks that are not public and in which webhooks may be sent events, such as `10.0.0.0/8`.
    pub webhook_networks: Vec<IpNet>,
    /// The URL that browsers reach the gateway by, to tell administrators the addresses that a provider is to be given.
    pub public_url: String,
}

impl IdentityConfig {
    /// Reads the keys that seal.
    ///
    /// # Errors
    ///
    /// Which line is no key, or why the command gives none.
    pub(crate) async fn read_sealing_keys(&self) -> Result<Option<SealingKeys>, SealingKeyError> {
        let printed;
        let text = match (&self.sealing_key, &self.sealing_key_command) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(SealingKeyError::Both),
            (Some(text), None) => text.expose(),
            (None, Some(command)) => {
                printed = run_key_command(command).await?;
                &**printed
            }
        };
        let keys = SealingKeys::parse(text)?;
        tell_keys(&keys);
        Ok(Some(keys))
    }

    /// Returns how providers are asked.
    pub(crate) fn provider_client(&self) -> HttpClient {
        let also = self.provider_networks.clone();
        HttpClient::new(Destinations::Public { also }, PROVIDER_LIMITS)
    }

    /// Returns how events are sent.
    pub(crate) fn webhook_client(&self) -> HttpClient {
        let also = self.webhook_networks.clone();
        HttpClient::new(Destinations::Public { also }, WEBHOOK_LIMITS)
    }
}

/// Tells by their ids which keys this replica has: the next is activated once every replica has it.
fn tell_keys(keys: &SealingKeys) {
    for (state, key) in keys.describe() {
        let state = state.as_str();
        tracing::info!(key, state, "this sealing key is here");
        metrics::gauge!("bowline_identity_sealing_keys", "key" => key, "state" => state).set(1.0);
    }
}

#[cfg(test)]
mod tests;
