//! Runs recorded policy cases through the code that tells clients.
//!
//! ```text
//! case line ─▶ Case ─▶ Policy ─▶ Compiler ─▶ messages to gateways ─▶ Replica, View ─▶ netmap of each node ─▶ candidate line
//! ```
//!
//! Nothing here decides what a policy means: the policy is compiled by `bowline-policy`, sent as `policy-compiler`
//! sends it, and told as `netmap-gateway` tells it.

mod candidate;
mod case;
mod case_tailnet;

pub use candidate::{Candidate, Peer, Told, candidate};
pub use case::{Case, Node, Recorded, RecordedSelf, Switches, TailnetSettings, Topology, User};
