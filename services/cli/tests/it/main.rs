//! The command as people run it: a process, its exit code, and what it says.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

mod acme;
mod answers;
mod attributes;
mod audit_heads;
mod backup;
mod bowline;
mod commands;
mod control_keys;
mod deployment;
mod doctor;
mod help;
mod imports;
mod joined_device;
mod policies;
mod relay;
mod repeats;
mod serve;
mod settings;
mod sign_in;
mod spans;
mod status;
mod tokens;
mod traces;
mod webhooks;
