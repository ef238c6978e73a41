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
mod databases;
mod first_start;
mod greeting;
mod relay;
mod start;
mod state_dir;
#[cfg(test)]
mod test_nodes;
mod tls;

pub use bowline_acme::AcmeConfig;
pub use config::{Config, ConfigReport, Options, RelayConfig, check_config, load_config};
pub use databases::{OwnerDatabase, owner_databases};
pub use first_start::{FirstStart, FirstStartServices, prepare_first_start};
pub use relay::{RelayBackends, RelayProcess, run as relay};
pub use start::{RELAY_HEALTH, StartedServer, run, start};
pub use state_dir::{RESTORE_MARKER, lock_state_dir};
pub use tls::{ListenerFiles, keep_listener_certificate};
