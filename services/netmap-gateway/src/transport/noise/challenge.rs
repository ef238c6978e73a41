//! The challenge of a connection: a client that answers it with a node key has proven that it holds that key (protocol
//! section 3.7).

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_clock::random_bytes;
use bowline_control_nacl::open_box;
use bowline_keys::{ChallengePublic, MachinePublic, NodePublic, PrivateKey};

use crate::machine::RequestFailure;

/// Where a client answers: once for each key.
const PROOF: &str = "tailscale-node-proof";
/// The most answers of one request: for an old key and a new one.
const MOST: usize = 2;

/// The challenge of one connection; it is empty for clients too old to answer one. Clones share the key.
#[derive(Clone, Debug)]
pub(super) struct Challenge(Option<Arc<PrivateKey>>);

impl Challenge {
    /// Makes a challenge.
    pub(super) fn new() -> Self {
        Self(Some(Arc::new(PrivateKey::from_random(random_bytes()))))
    }

    /// Returns no challenge: nothing answers it.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Returns the public half, which is sent to the client.
    pub(super) fn public(&self) -> Option<ChallengePublic> {
        let key = self.0.as_ref()?;
        Some(ChallengePublic::from_bytes(key.public_bytes()))
    }

    /// Returns the node keys that a request proves its client to hold.
    ///
    /// # Errors
    ///
    /// 400 when an answer is malformed, 401 when it was not made with the key it names, or answers another challenge.
    pub(super) fn proven_keys(
        &self,
        headers: &HeaderMap,
    ) -> Result<Vec<NodePublic>, RequestFailure> {
        let answers = headers.get_all(PROOF);
        if answers.iter().count() > MOST {
            let text = "a request proves two node keys at most";
            return Err(RequestFailure::new(StatusCode::BAD_REQUEST, text));
        }
        let answers = answers.iter().map(|answer| {
            let (node, sealed) = answer.to_str().ok().and_then(parse_answer).ok_or_else(|| {
                let text = "Tailscale-Node-Proof is a node key, a space, and a box in base64";
                RequestFailure::new(StatusCode::BAD_REQUEST, text)
            })?;
            if self.is_answered(node, &sealed) {
                Ok(node)
            } else {
                let text = "Tailscale-Node-Proof does not prove its node key on this connection";
                Err(RequestFailure::new(StatusCode::UNAUTHORIZED, text))
            }
        });
        answers.collect()
    }

    fn is_answered(&self, node: NodePublic, sealed: &[u8]) -> bool {
        let (Some(key), Some(public)) = (&self.0, self.public()) else {
            return false;
        };
        let sender = MachinePublic::from_bytes(*node.as_bytes());
        open_box(sealed, sender, [&**key])
            .is_ok_and(|opened| opened.plaintext == public.to_string().as_bytes())
    }
}

fn parse_answer(answer: &str) -> Option<(NodePublic, Vec<u8>)> {
    let (node, sealed) = answer.split_once(' ')?;
    Some((node.parse().ok()?, STANDARD.decode(sealed).ok()?))
}

#[cfg(test)]
mod tests;
