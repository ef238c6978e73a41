//! Certificates from a real authority: Pebble.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod issuing;
mod listener;
