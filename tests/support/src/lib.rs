//! The owners of hard state in one process, for tests of any service.
//!
//! [`TestServices`] are the real identity, key registry and policy compiler on one [`TestDatabase`], with a tailnet and a
//! user in it. What a test asks of them beside what it is about is one call each, grouped by noun: `tailnets`, `nodes`,
//! `policies`, `tokens`. A call that fails ends the test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

mod nodes;
mod policies;
mod repeats;
mod services;
mod tailnets;
mod tokens;

pub use bowline_test_servers::{TestDatabase, on_both};
pub use repeats::{RepeatedCalls, assert_nowhere, call_with_key, new_idempotency_key};
pub use services::{TestServices, unreachable_channel};
pub use tokens::{TokenChannel, TokenInterceptor};
