//! The answer to `GET /key` (protocol section 2).

use bowline_keys::MachinePublic;
use serde::{Deserialize, Serialize};

use crate::CapabilityVersion;

/// The server's public keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyResponse {
    /// The NaCl key.
    pub legacy_public_key: MachinePublic,
    /// The Noise key, or zero to make clients up to 1.62 speak NaCl.
    pub public_key: MachinePublic,
}

/// What `GET /key` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The legacy key alone as 64 digits: for clients before 1.24.
    Text(String),
    /// Both keys as JSON.
    Json(KeyResponse),
    /// The version is not a number.
    BadVersion,
}

/// What decides the answer.
#[derive(Clone, Copy, Debug)]
pub struct KeySettings {
    /// The keys to offer.
    pub noise: MachinePublic,
    /// The keys to offer.
    pub legacy: MachinePublic,
    /// Clients that speak both transports get a zero Noise key up to this version, exclusively.
    pub nacl_below: CapabilityVersion,
}

/// Answers `GET /key?v=<version>`.
#[must_use]
pub fn key_answer(version: Option<&str>, settings: &KeySettings) -> KeyAnswer {
    let Some(version) = version else {
        return KeyAnswer::Text(settings.legacy.to_hex());
    };
    // Digits only: a sign, which `parse` takes, is no version of any client.
    let digits = version.bytes().all(|byte| byte.is_ascii_digit());
    let Some(version) = version.parse().ok().filter(|_| digits) else {
        return KeyAnswer::BadVersion;
    };
    let version = CapabilityVersion(version);
    if version < CapabilityVersion(28) {
        return KeyAnswer::Text(settings.legacy.to_hex());
    }
    let nacl = version < settings.nacl_below && version < CapabilityVersion::NOISE_ONLY;
    let public_key = if nacl {
        MachinePublic::ZERO
    } else {
        settings.noise
    };
    KeyAnswer::Json(KeyResponse {
        legacy_public_key: settings.legacy,
        public_key,
    })
}

#[cfg(test)]
mod tests;
