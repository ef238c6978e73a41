//! Who is behind a login: tailnets, users, roles and logins in flight.
//!
//! ```text
//! administrators ─▶ tailnets, users, logins ─▶ domain: is it allowed? ─▶ store + change log, one commit
//! key-registry, compiler, gateways ─▶ Resolve… (tailnets, users), Heads, ChangesSince, Snapshot (changes)
//! ```
//!
//! A change of a tailnet or a user writes its row, its audit entry and its log entry in one transaction. Logins in flight
//! are not in the log: a log belongs to a tailnet, and a login has none until its user is known.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod changes;
mod conditions;
mod config;
mod connection_tester;
mod connections;
mod credentials;
mod domain;
mod error;
mod fields;
mod groups;
mod grpc;
mod invitations;
mod login_attempts;
mod login_waiters;
mod logins;
mod memberships;
mod pace;
mod passkey_ceremony;
mod passkeys;
mod person;
mod provider_logins;
mod provider_refreshes;
mod resealing;
mod saml;
mod scim;
mod secrets;
mod service;
mod sessions;
mod store;
mod sweeper;
mod tailnets;
mod tokens;
mod user_merges;
mod users;
mod webhooks;

pub use config::{IdentityConfig, SealingKeyError};
pub use service::{Identity, IdentityBase, IdentityStartError};
pub use webhooks::TrailServices;
