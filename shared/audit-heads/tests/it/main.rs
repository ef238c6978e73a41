//! Trails on both databases, exported and then tampered with.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails where something is not as expected, and starts servers of its own"
)]

mod destinations;
mod support;
mod tampering;
