//! One contract for both buses: every case runs inside the process and over a real Redis.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

mod contract;
mod faults;
mod proxy;
mod support;
