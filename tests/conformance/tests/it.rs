//! Policies from text to what clients are told.
#![expect(clippy::unwrap_used, reason = "tests say so when something is wrong")]

#[path = "it/convergence.rs"]
mod convergence;
#[path = "it/recorded.rs"]
mod recorded;
