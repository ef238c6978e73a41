//! From a policy and an inventory to what each node is told.
//!
//! ```text
//! Policy ─▶ Plan: parties (interned selectors), rules by party
//! node   ─▶ the parties it belongs to ─▶ Class (visibility, filter)   Settings (SSH, capabilities)
//!        └▶ the source lists it feeds, the routes it offers
//! ```
//!
//! No pair of nodes and no pair of classes is ever looked at: a class says which parties it belongs to and which
//! parties it sees, and two nodes are peers when either sees a party of the other.

mod class;
mod compiler;
mod list;
mod output;
mod party;
mod plan;
mod range_index;
mod reach;
mod route;
mod settings;
#[cfg(test)]
mod tests;
mod via;

pub use compiler::Compiler;
pub use output::{
    Address, CapGrant, Class, Destination, FilterRule, ListChange, ListId, Membership, Output,
    Pass, Principals, RouteUsers, Settings, SshLogin, Via,
};

pub use reach::{Explanation, PairChange, Preview, RuleUse};

pub(crate) use plan::{Plan, PlannedRule};
pub(crate) use settings::SettingsPlan;

#[cfg(test)]
pub(crate) use tests::naive;

use sha2::{Digest as _, Sha256};

/// Returns a number that stands for some bytes on every replica.
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
