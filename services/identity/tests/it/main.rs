//! The identity service over gRPC, on both databases.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

mod access;
mod attempts_end;
mod changes;
mod credentials;
mod crowd;
mod groups;
mod hostile_providers;
mod identity;
mod links;
mod logins;
mod merges;
mod program_logins;
mod provider_logins;
mod provider_refreshes;
mod queue;
mod repeats;
mod scim;
mod sessions;
mod ssh_checks;
mod tailnets;
mod users;
mod webhooks;
