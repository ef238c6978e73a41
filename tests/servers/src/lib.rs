//! Private PostgreSQL and Redis processes for tests.
//!
//! Each server runs the installed binary in a directory of its own, on a free port of the loopback address, and ends
//! with its handle. Nothing else on the machine is touched.
//!
//! ```no_run
//! # use bowline_test_servers::PostgresServer;
//! # fn main() -> anyhow::Result<()> {
//! let Some(server) = PostgresServer::start()? else { return Ok(()) }; // not installed: SKIPPED was printed
//! let url = server.new_database()?;
//! # Ok(())
//! # }
//! ```

#![expect(clippy::disallowed_methods, reason = "this crate is only for tests")]

mod binary;
mod port;
mod postgres;
mod process;
mod redis;

pub use postgres::PostgresServer;
pub use redis::RedisServer;
