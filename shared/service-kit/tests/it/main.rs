//! Servers and channels on real sockets.

#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod certificates;
mod drain;
mod replicas;
mod strangers;
mod support;
mod telemetry;
