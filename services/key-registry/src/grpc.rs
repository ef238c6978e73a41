//! The RPCs: convert, call, convert back.

mod nodes;
mod pre_auth_keys;
mod registration;
mod registry;
mod tailnet_lock;

pub use registry::RegistryRpcs;
