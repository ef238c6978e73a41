//! Bowline as one process and as separate services, started for tests from the programs that were built beside them.
//!
//! [`OneProcess`] is `bowline serve` on a state directory, [`Separate`] the services over PostgreSQL and Redis, with any
//! number of gateways. What tests ask of either is [`Deployment`]. Both end with their handle.

#![expect(clippy::disallowed_methods, reason = "this crate is only for tests")]

mod deployment;
mod one_process;
mod separate;

pub use deployment::{Deployment, Launch, program};
pub use one_process::OneProcess;
pub use separate::Separate;
