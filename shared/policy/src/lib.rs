//! The policy language: from text to compiled visibility and packet filters, without IO.
//!
//! ```text
//! text ─▶ document (what is written, with places) ─▶ Policy (valid) ┐
//!                                       users and nodes (inventory) ┴─▶ Compiler ─▶ classes, source lists
//! ```
//!
//! The compiler works on parties (selectors) and classes, not on pairs of nodes: nodes that belong to the same parties
//! are one class, and a class says which parties it sees. A change of one node touches its own class and the source
//! lists that its parties feed.
//!
//! Services (`svc:`) have no addresses here yet, and there are no shared nodes: `svc:` and `autogroup:shared` are read
//! and select nothing, with a warning. What can not be told of a device is never met as a condition, with a warning too.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod assertion;
mod check;
mod compile;
mod context;
mod document;
mod internet;
mod inventory;
mod judge;
mod policy;
mod port;
mod posture;
mod problem;
mod protocol;
mod section;
mod selector;

pub use assertion::failed_tests;
pub use check::{Inventory, Verdict, check_document};
pub use compile::{
    Address, CapGrant, Class, Compiler, Destination, Explanation, FilterRule, ListChange, ListId,
    Membership, Output, PairChange, Pass, Preview, Principals, RouteUsers, RuleUse, Settings,
    SshLogin, Via,
};
pub use context::DocumentContext;
pub use inventory::{Node, Role, User, own_domains};
pub use judge::{Applicant, address_pools, approved_routes, refused_tags, undefined_tags};
pub use policy::{Capability, Policy};
pub use port::Ports;
pub use posture::{AttributeValue, Attributes, device_attributes};
pub use problem::Problem;
pub use selector::{login_name, tag_name};
