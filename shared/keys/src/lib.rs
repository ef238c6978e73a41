//! The kinds of Curve25519 key in the client protocol, and their text forms (protocol section 1).
//!
//! | type | text | public half of |
//! |---|---|---|
//! | [`MachinePublic`] | `mkey:` | an installation's key; also how a control key is written |
//! | [`NodePublic`] | `nodekey:` | a node's WireGuard key |
//! | [`DiscoPublic`] | `discokey:` | a client's path-discovery key |
//! | [`ChallengePublic`] | `chalpub:` | a key the server makes for one connection |
//! | [`PrivateKey`] | `privkey:` | the server's own: control keys, relay key, challenge keys |
//!
//! A key of 32 zero bytes stands for "absent" wherever a client has to write one.

mod low_order;
mod private;
mod public;

pub use low_order::is_low_order;
pub use private::PrivateKey;
pub use public::{ChallengePublic, DiscoPublic, KeyError, MachinePublic, NodePublic};
