//! What each node of a tailnet may know, as pure functions: no clock, no IO, no runtime.
//!
//! ```text
//! logs of identity, registry, compiler ─▶ replica ─▶ view (immutable) + change set (what differs from the view before)
//!                                                     │
//!                             message: build_full(view, node) · build_delta(view, changes, node) ─▶ encoding ─▶ frames
//! ```
//!
//! Start reading at [`Replica`], which decides what may be shown together, then at [`build_delta`], which decides what a node
//! is told of a change. Two gateways with equal views say the same, so a client may change between them at any time.

mod change_set;
mod difference;
mod encoding;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
mod message;
mod replica;
mod view;
mod view_at;

pub use change_set::ChangeSet;
pub use difference::{ConcernedNodes, Difference, ViewerGroup};
pub use encoding::{DeltaCache, DeltaKey, Dialect, PeerBlocks};
pub use message::{
    Delta, SshJudgement, build_delta, build_full, build_node_gone, hold_for_login, judge_ssh,
    lost_peers, owner_id, user_profile,
};
pub use replica::{AwaitedPart, Replica, WaitingNode};
pub use view::{
    ClassId, CompiledPolicy, FilterSources, Generation, InvertedIndex, PolicyRelays, SettingsId,
    ShownNode, SourceListKey, View, have_common_element, see_each_other, ssh_source_lists,
};
