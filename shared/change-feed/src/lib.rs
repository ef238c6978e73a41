//! Follows the change logs of other services: hints, heads, gaps, snapshots.
//!
//! ```text
//! bus hint ───┐
//! bus gap ────┼──▶ head of each followed tailnet ──▶ TailnetFollower::next: ChangesSince, or Snapshot after a gap
//! Heads, 1 s ─┘
//! ```
//!
//! A hint only says "look again": what is read comes from the owner, from the revision the follower has. So a
//! lost, repeated, late or forged hint costs at most about a second, never truth.
//!
//! What a follower makes of the entries is not here.

mod feed;
mod follow;
mod lag;
mod origins;
mod outage;
mod source;

pub use feed::Feed;
pub use follow::{TailnetFollower, Update};
pub use origins::TracedEntries;
pub use outage::OutageWatch;
pub use source::{Fetched, IdentityLog, LogSource, Position, RegistryLog, Snapshot};
