//! Policy documents, and what they mean for each node.
//!
//! ```text
//! administrators ─▶ SetPolicy ─▶ valid? ─▶ one more version, kept for ever
//! identity's and the registry's logs, the version in force ─▶ Workspace (shared/policy) ─▶ WatchCompiled ─▶ gateways
//! ```
//!
//! The output is a function of policy version, registry revision and identity revision; it is stamped with all three and
//! never stored. `bowline-policy` decides what a document means; this crate stores documents, feeds the compiler and
//! sends what it puts out.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod blocking;
mod documents;
mod error;
mod grpc;
pub mod inventory;
mod judgement;
pub mod message;
mod people;
mod policy_cache;
mod service;
mod store;
mod workspace;
mod workspaces;

pub use service::{FollowedServices, PolicyCompiler};
