//! Servers and channels on real sockets.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

mod access;
mod certificates;
mod drain;
mod replicas;
mod strangers;
mod support;
mod telemetry;
mod traces;
