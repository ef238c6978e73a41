//! The policy language: from text to compiled visibility and packet filters, without IO.
//!
//! ```text
//! text ─▶ document (what is written, with places) ─▶ Policy (valid) ┐
//!                                       users and nodes (inventory) ┴─▶ Compiler ─▶ classes, source lists
//! ```
//!
//! The compiler works on selectors and classes, not on pairs of nodes: nodes that match the same selectors are one
//! class, and rules are compiled class to class. A change of one node touches its own class membership and the
//! source lists that its selectors feed.
//!
//! Sections read so far: `acls`, `groups`, `tagOwners`, `hosts`. Others are refused by name.

mod compile;
mod document;
mod inventory;
mod judge;
mod policy;
mod port;
mod problem;
mod protocol;
mod selector;

pub use compile::{
    Address, Class, Compiler, Destination, FilterRule, Membership, Output, SourceList, Visible,
};
pub use inventory::{Node, Role, User};
pub use judge::{Applicant, refused_tags};
pub use policy::Policy;
pub use problem::Problem;
