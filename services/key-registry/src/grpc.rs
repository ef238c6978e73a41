//! The RPCs: convert, call, convert back.

mod nodes;
mod pre_auth_keys;
mod registration;
mod registry;

pub use registry::RegistryRpcs;
