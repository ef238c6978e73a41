//! Tailnet lock (protocol section 11): which keys a tailnet trusts, how that changes, and what these keys sign.
//!
//! ```text
//! genesis ─▶ update ─▶ update ─▶ head        a chain: each update names the hash of the one before
//!               └────▶ update                a fork: the rules of `fork` say which branch counts
//! ```
//!
//! A [`LockUpdate`] is signed by keys that the state before it trusts. All updates of a tailnet are its [`LockLog`]; the
//! updates from the genesis to the head make its [`LockState`]. A [`NodeKeySignature`] binds a node key to a trusted key;
//! clients show no peer without a good one.
//!
//! The server can not sign: it holds no private key. It checks everything that clients check, so that nothing enters the
//! log that a client would refuse, and nothing that two clients could read in two ways: what is not in the one canonical
//! form is refused before anything else is looked at.
//!
//! Start reading at [`LockLog::add`].

mod cbor;
mod disablement;
mod error;
mod fork;
mod hash;
mod key;
mod limits;
mod log;
mod node_signature;
mod state;
mod sync;
mod update;
mod verify;

pub use disablement::derive_disablement_value;
pub use error::{LockFormatError, LockUpdateError, NodeSignatureError};
pub use hash::UpdateHash;
pub use key::{KeyId, LockKey};
pub use limits::MOST_UPDATES;
pub use log::LockLog;
pub use node_signature::{
    NodeKeyAuthorization, NodeKeySignature, NodeSignatureKind, RotationDetails,
};
pub use state::LockState;
pub use sync::SyncOffer;
pub use update::{LockUpdate, UpdateKind, UpdateSignature};
