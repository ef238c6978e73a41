//! The DERP handshake: a box that only the holder of a node key can have sealed for this relay (protocol §9.4).
//!
//! Pure: bodies of frames in, bodies of frames out; the nonce is a parameter.

use bowline_keys::NodePublic;
use crypto_box::aead::Aead;
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use serde::Deserialize;
use x25519_dalek::StaticSecret;

use crate::frame::KEY_LEN;

/// Length of a box's nonce.
pub(crate) const NONCE_LEN: usize = 24;
/// The protocol version spoken here: RecvPacket names its source.
const VERSION: u32 = 2;

/// A client that has proven to hold its node key.
pub(crate) struct ClientInfo {
    pub(crate) node: NodePublic,
    /// Whether it answers pings.
    pub(crate) acks_pings: bool,
    shared: SalsaBox,
}

/// A ClientInfo frame that proves nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DerpHandshakeError {
    #[error("client info is too short for a key, a nonce and a box")]
    Short,
    #[error("client info names a key that anyone holds")]
    WeakKey,
    #[error("client info is not sealed by the key it names, for this relay")]
    Forged,
    #[error("client info is not the expected JSON")]
    Json(#[from] serde_json::Error),
    #[error("client speaks DERP version {0}, at least 2 is needed")]
    Version(u32),
}

/// What the box says; Go clients write `CanAckPings`, others may leave it out.
#[derive(Deserialize)]
struct ClientDeclaration {
    #[serde(default)]
    version: u32,
    #[serde(default, rename = "CanAckPings", alias = "canAckPings")]
    acks_pings: bool,
}

/// Opens the body of a ClientInfo frame with the relay's secret key.
pub(crate) fn open_client_info(
    body: &[u8],
    relay: &SecretKey,
) -> Result<ClientInfo, DerpHandshakeError> {
    let (key, rest) = body
        .split_first_chunk::<KEY_LEN>()
        .ok_or(DerpHandshakeError::Short)?;
    let (nonce, sealed) = rest
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(DerpHandshakeError::Short)?;

    // A box to a low-order key is sealed with a secret known to all: opening it would prove nothing.
    let relay_scalar = StaticSecret::from(relay.to_bytes());
    if !relay_scalar
        .diffie_hellman(&(*key).into())
        .was_contributory()
    {
        return Err(DerpHandshakeError::WeakKey);
    }

    let shared = SalsaBox::new(&PublicKey::from(*key), relay);
    let opened = shared
        .decrypt(nonce.into(), sealed)
        .map_err(|_| DerpHandshakeError::Forged)?;
    let declared: ClientDeclaration = serde_json::from_slice(&opened)?;
    if declared.version < VERSION {
        return Err(DerpHandshakeError::Version(declared.version));
    }
    Ok(ClientInfo {
        node: NodePublic::from_bytes(*key),
        acks_pings: declared.acks_pings,
        shared,
    })
}

impl ClientInfo {
    /// Returns the body of the ServerInfo frame for this client; `nonce` is never used twice.
    pub(crate) fn server_info(&self, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let json = format!(r#"{{"version":{VERSION}}}"#);
        let sealed = self.shared.encrypt(&nonce.into(), json.as_bytes());
        let sealed = sealed.expect("a short text can be sealed");
        [&nonce[..], &sealed].concat()
    }
}

#[cfg(test)]
mod tests;
