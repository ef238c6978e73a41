//! Which keys exist, whom they belong to, and until when.
//!
//! ```text
//! gateway ─▶ Register ─▶ facts from identity and the compiler ─▶ domain: the verdict ─▶ one commit: node, key, log
//! gateway ─▶ ReportNodes ─▶ soft state, batched        administrators ─▶ nodes, pre-auth keys
//! sweeper, each second: ends of keys, of ephemeral nodes, of presence
//! ```
//!
//! What holds: a node key is bound to one machine key for ever, retired ones included; a one-off pre-auth key is
//! used up in the transaction that registers its node; no two nodes of a tailnet share an address or a name.

mod adoption;
mod domain;
mod error;
mod grpc;
mod identity_follower;
mod node_changes;
mod own_changes;
mod registration;
mod reports;
mod revocation;
mod service;
mod shared_keys;
mod store;
mod sweeper;

pub use domain::routes::{Router, elect_primaries};
pub use service::{AskedServices, KeyRegistry, RegistryConfig};
