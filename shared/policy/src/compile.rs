//! From a policy, users and nodes to what each node is told (policy section 24).
//!
//! ```text
//! Policy ─▶ AccessPlan, ProfilePlan: selectors by number, rules found by selector
//! node   ─▶ the selectors that select it ─▶ Class (visibility, filter)   NodeProfile (SSH, capabilities)
//!        └▶ the source lists it is in, the routes it offers
//! ```
//!
//! No pair of nodes and no pair of classes is ever looked at: a class lists the selectors it belongs to and the selectors
//! it sees, and two nodes are peers when either sees a selector that the other belongs to.

mod class;
mod class_access;
mod class_filter;
mod compiler;
mod explain;
mod list;
mod output;
mod plan;
mod preview;
mod profile;
mod range_index;
mod route;
mod rule_text;
mod selector_table;
#[cfg(test)]
mod tests;
mod via;

pub use compiler::Compiler;
pub use explain::{Explanation, RuleUse};
pub use output::{
    CapabilityGrant, Class, ClassFilterRule, CompiledSshRule, DestinationAddress,
    FilterDestination, ListChange, ListId, Membership, NodeProfile, Output, RouteUsers,
    SshPrincipals, Via, ViaTarget,
};
pub use preview::{PairChange, Preview};

pub(crate) use plan::{AccessPlan, PlannedRule};
pub(crate) use profile::ProfilePlan;

#[cfg(test)]
pub(crate) use tests::naive;

use sha2::{Digest as _, Sha256};

/// Returns a number for some bytes, the same on every replica.
pub(crate) fn hash(kind: &str, parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> u64 {
    let mut digest = Sha256::new().chain_update(kind);
    for part in parts {
        let part = part.as_ref();
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.finalize()[..8]);
    u64::from_be_bytes(bytes)
}
