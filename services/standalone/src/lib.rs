//! All of Bowline's services in one process.
//!
//! ```text
//! SQLite files, in-process bus ─▶ identity ⇄ key-registry ⇄ policy-compiler ─▶ netmap-gateway ─▶ clients
//!                                     └── admin.sock ── bowline (the command)        └ relay
//! ```
//!
//! The services are the same as in a scaled deployment; only how they reach each other, the bus and the databases
//! differ. What a first start makes lies in the state directory: databases, control keys, certificates.

mod admission;
mod config;
mod first_start;
mod greeting;
mod relay;
mod start;
mod state_dir;
mod tls;
#[cfg(test)]
mod world;

pub use config::{Checked, Config, Options, RelayConfig, check, load};
pub use relay::{Owners, RelayProcess, run as relay};
pub use start::{RELAY_HEALTH, Started, run, start};
