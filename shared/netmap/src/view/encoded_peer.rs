//! A node as a message has it, encoded once for all who see the same of it.

use std::sync::Arc;

use bowline_proto::{identity::v1::Tailnet, policy::v1::Settings};
use parking_lot::Mutex;

/// What a node was encoded with, besides its own facts.
#[derive(Clone, Debug)]
pub(crate) struct PeerContext {
    pub(crate) tailnet: Arc<Tailnet>,
    pub(crate) settings: Option<Arc<Settings>>,
}

/// The encoded form of a node, once somebody has asked for it. It belongs to the node's facts, and goes with them; clones share
/// it.
#[derive(Clone, Debug, Default)]
pub struct EncodedPeer(Arc<Mutex<Option<PeerJson>>>);

#[derive(Debug)]
struct PeerJson {
    context: PeerContext,
    json: Arc<[u8]>,
}

impl EncodedPeer {
    /// Returns the form that was encoded with the same, or encodes it.
    pub(crate) fn get_or_encode<E>(
        &self,
        context: PeerContext,
        encode: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Arc<[u8]>, E> {
        let mut kept = self.0.lock();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.context.is_same(&context)) {
            return Ok(Arc::clone(&kept.json));
        }
        let json: Arc<[u8]> = encode()?.into();
        let encoded = PeerJson {
            context,
            json: Arc::clone(&json),
        };
        *kept = Some(encoded);
        Ok(json)
    }
}

/// Two nodes with the same facts are equal, whether they have been encoded or not.
impl PartialEq for EncodedPeer {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl PeerContext {
    fn is_same(&self, other: &Self) -> bool {
        let settings = self.settings.as_ref().zip(other.settings.as_ref());
        Arc::ptr_eq(&self.tailnet, &other.tailnet)
            && match settings {
                Some((left, right)) => Arc::ptr_eq(left, right),
                None => self.settings.is_none() && other.settings.is_none(),
            }
    }
}
