//! What one node is told: pure functions from views to messages in their newest form.
//!
//! [`full`] is the first message of a stream, [`delta`] each later one. Two gateways with equal views say the
//! same, so a client may change between them at any time.

mod delta;
mod filter;
mod full;
mod gone;
mod look;
mod node;
mod profile;
mod ssh;
#[cfg(test)]
mod tests;

pub use delta::{Delta, concerns_own, delta, lost};
pub use full::full;
pub(crate) use full::head;
pub use gone::gone;
pub(crate) use look::Eyes;
pub(crate) use node::peer;
pub use profile::{TAGGED_DEVICES, owner, profile};
