//! Which keys exist, whom they belong to, and until when.
//!
//! ```text
//! gateway ─▶ Register ─▶ facts from identity and the compiler ─▶ domain: the verdict ─▶ one commit: node, key, log
//! gateway ─▶ ReportNodes ─▶ soft state, batched        administrators ─▶ nodes, pre-auth keys
//! sweeper, each second: ends of keys, of custom attributes, of ephemeral nodes, of presence
//! ```
//!
//! What holds: a node key is bound to one machine key for ever, retired ones included; a one-off pre-auth key is
//! used up in the transaction that registers its node; no two nodes of a tailnet share an address or a name.

mod actors;
mod adoption;
mod approval_questions;
mod asked_services;
mod attributes;
mod batched_questions;
mod changes;
mod domain;
mod elections;
mod error;
mod fields;
mod gateway_listing;
mod grpc;
mod identity_follower;
mod imports;
mod leases;
mod listing;
mod merged_users;
mod node_changes;
mod node_states;
mod nodes;
mod own_changes;
mod pre_auth_keys;
mod registration;
mod removal;
mod reports;
mod retired_keys;
mod revocations;
mod rotations;
mod service;
mod shared_keys;
mod store;
mod sweeper;
mod tailnet_lock;

pub use asked_services::AskedServices;
pub use domain::routes::{Router, elect_primaries};
pub use service::{KeyRegistry, RegistryConfig};
