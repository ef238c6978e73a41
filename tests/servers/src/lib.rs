//! Servers for tests: private PostgreSQL, Redis, Keycloak, Hydra, oidc-provider, samlp, Pebble, s3s-fs and pgbouncer processes, and SQLite files.
//!
//! Each server runs the installed binary in a directory of its own, on a free port of the loopback address, and ends
//! with its handle. Nothing else on the machine is touched.
//!
//! What is not installed gives `None`, after `SKIPPED` was printed; in CI it is an error. A test on both databases begins with
//! [`on_both`].
//!
//! ```no_run
//! # use bowline_test_servers::RedisServer;
//! # fn main() -> anyhow::Result<()> {
//! let Some(redis) = RedisServer::start()? else { return Ok(()) };
//! let url = redis.url();
//! # Ok(())
//! # }
//! ```

#![expect(clippy::disallowed_methods, reason = "this crate is only for tests")]

mod binary;
mod database;
mod hydra;
mod keycloak;
mod node;
mod oidc_provider;
mod on_both;
mod pebble;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod redis;
mod s3;
mod samlp;
mod size;
mod skipped;

pub use database::TestDatabase;
pub use hydra::HydraServer;
pub use keycloak::KeycloakServer;
pub use oidc_provider::OidcProviderServer;
pub use pebble::{PebbleOptions, PebbleServer};
pub use pgbouncer::PgBouncer;
pub use postgres::PostgresServer;
pub use process::{mortal, spawn_mortal};
pub use redis::{RedisSentinel, RedisServer};
pub use s3::S3Server;
pub use samlp::SamlpServer;
pub use size::choose_size;
pub use skipped::report_skipped;
