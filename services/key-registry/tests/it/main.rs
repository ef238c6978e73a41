//! The key registry over gRPC beside the real identity and policy-compiler services, on both databases.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

mod administration;
mod attributes;
mod ends;
mod imports;

mod judged_tags;
mod key_ends;
mod key_policy;
mod migrations;
mod node_states;
mod pace;
mod registration;
mod repeats;
mod reports;
mod request;
mod required_rotation;
mod returning;
mod rotation;
mod standing;
mod statements;
mod tags;
mod tailnet_lock;
