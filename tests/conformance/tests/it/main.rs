//! Policies from text to what clients are told.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests say so when something is wrong"
)]

mod citations;
mod convergence;
mod following;
mod pairs;
mod recorded;
mod worked;
