//! The policy language: from text to compiled visibility and packet filters, without IO.
//!
//! ```text
//! text ─▶ document (what is written, with places) ─▶ Policy (valid) ┐
//!                                       users and nodes (inventory) ┴─▶ Compiler ─▶ classes, source lists
//! ```
//!
//! The README beside this crate describes the language and how the compiler works.
//!
//! Services (`svc:`) have no addresses here yet, and there are no shared nodes: `svc:` and `autogroup:shared` are read
//! and select nothing, with a warning. A condition on something that is not known of devices is never met, with a warning
//! too.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests start work of their own and need any time to begin with"
    )
)]

mod assertion;
mod attribute;
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
pub use attribute::{
    AttributeKind, AttributeValue, Attributes, ConfiguredAttribute, ReportedDevice,
    device_attributes,
};
pub use check::{DocumentVerdict, Inventory, check_document};
pub use compile::{
    CapabilityGrant, Class, ClassFilterRule, CompiledSshRule, Compiler, DestinationAddress,
    Explanation, FilterDestination, ListChange, ListId, Membership, NodeProfile, Output,
    PairChange, Preview, RouteUsers, RuleUse, SshPrincipals, Via, ViaTarget,
};
pub use context::DocumentContext;
pub use inventory::{PolicyNode, PolicyUser, Role, own_domains};
pub use judge::{Applicant, address_pools, approved_routes, refused_tags, undefined_tags};
pub use policy::{Capability, Policy};
pub use port::Ports;
pub use problem::Problem;
pub use selector::{login_name, tag_name};
