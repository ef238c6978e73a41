//! State of real headscale servers, of each release that is known.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod recorded;
