//! `[service]` of identity's settings, and `[identity]` of a server in one process.

use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_sealing::{SealingError, SealingKeys};
use bowline_service_kit::config::Secret;
use ipnet::IpNet;
use serde::Deserialize;
use zeroize::Zeroizing;

use std::{process::Stdio, time::Duration};

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

/// How long the command that prints the sealing keys may take, and how much it may print.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_KEYS: usize = 64 << 10;

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
    Command(String),
}

/// Runs a command and returns what it prints. What it says of its failure is passed on, and what it prints is not.
async fn run_key_command(command: &str) -> Result<Zeroizing<String>, SealingKeyError> {
    let failed = |text: String| SealingKeyError::Command(text);
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_PATIENCE, shell.output())
        .await
        .map_err(|_| failed("it has not ended after 30 seconds".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    let printed = Zeroizing::new(output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().take(500).collect();
        return Err(failed(format!("it failed ({}): {said}", output.status)));
    }
    if printed.len() > LONGEST_KEYS {
        return Err(failed(
            "it prints more than a file of sealing keys".to_owned(),
        ));
    }
    let text = std::str::from_utf8(&printed);
    let text = text.map_err(|_| failed("what it prints is no text".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
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
        Ok(Some(SealingKeys::parse(text)?))
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

#[cfg(test)]
mod tests;
