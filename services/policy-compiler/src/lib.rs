//! Policy documents, and what they mean for each node.
//!
//! ```text
//! administrators ─▶ SetPolicy ─▶ valid? ─▶ one more version, kept for ever
//! identity's and the registry's logs, the version in force ─▶ Workspace (shared/policy) ─▶ WatchCompiled ─▶ gateways
//! ```
//!
//! What it puts out is a function of policy version, registry revision and identity revision, stamped with all
//! three and never stored. Decisions of the language are in `bowline-policy`; here is who asks and who is told.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod apart;
mod error;
mod grpc;
pub mod inventory;
pub mod message;
mod service;
mod shelf;
mod store;
mod workspace;
mod workspaces;

pub use service::PolicyCompiler;
