//! What each node of a tailnet may know, as pure functions: no clock, no IO, no runtime.
//!
//! ```text
//! logs of identity, registry, compiler ─▶ replica ─▶ view (immutable) + change set (what differs from the view before)
//!                                                     │
//!                             message: full(view, node) · delta(view, changes, node) ─▶ encoding ─▶ frames
//! ```
//!
//! Start reading at [`Replica`], which decides what may be shown together, then at [`delta`], which decides what a node
//! is told of a change. Two gateways with equal views say the same, so a client may change between them at any time.

mod change_set;
mod encoding;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
mod message;
mod replica;
mod view;

pub use change_set::ChangeSet;
pub use encoding::{Blocks, DeltaCache, DeltaKey, Dialect};
pub use message::{Delta, TAGGED_DEVICES, concerns_own, delta, full, gone, lost, owner, profile};
pub use replica::Replica;
pub use view::{Compiled, ListKey, Shown, Sources, View, intersect, login_lists, see_each_other};
