//! What one node is told: pure functions from views to messages in their newest form.
//!
//! [`build_full`] is the first message of a stream, [`build_delta`] each later one. Two gateways with equal views say the
//! same, so a client may change between them at any time.

mod delta;
mod filter;
mod full;
mod gone;
mod node;
mod peer_change;
mod profile;
mod ssh;
#[cfg(test)]
mod tests;
mod viewer;

pub use delta::{Delta, build_delta, lost_peers};
pub use full::build_full;
pub(crate) use full::full_without_peers;
pub use gone::build_node_gone;
pub(crate) use node::append_peer;
pub(crate) use peer_change::{PeerDifference, compare_shared_facts};
pub use profile::{owner_id, user_profile};
pub use ssh::{SshJudgement, hold_for_login, judge_ssh};
pub(crate) use viewer::Viewer;
