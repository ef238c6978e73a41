//! The policy compiler over gRPC beside the real identity and key-registry services, on both databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

mod answers;
mod attributes;
mod compiler;
mod groups;
mod repeats;
mod versions;
