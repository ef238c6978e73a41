//! What a document is read against: what of its tailnet is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    inventory::{User, own_domains},
    policy::Policy,
};

/// What is known of the tailnet a document is for; the default is nothing.
#[derive(Clone, Debug, Default)]
pub struct DocumentContext {
    /// The tailnet's own domains, in lower case. A document that names users of another domain with a wildcard is
    /// refused; while none is known, any is accepted.
    pub domains: BTreeSet<String>,
    /// The groups that its users have from outside, with `group:`; `None` while they are not known.
    pub groups: Option<BTreeSet<String>>,
    /// Such groups that the document in force names.
    pub groups_in_force: BTreeSet<String>,
    /// Whether the document was accepted before.
    pub is_stored: bool,
}

impl DocumentContext {
    /// Returns what is known of a tailnet with these users.
    #[must_use]
    pub fn of(users: &BTreeMap<u64, User>, in_force: Option<&Policy>) -> Self {
        let groups = users.values().flat_map(|user| &user.groups);
        Self {
            domains: own_domains(users),
            groups: Some(groups.cloned().collect()),
            groups_in_force: in_force
                .map_or_else(BTreeSet::new, |policy| policy.synced_groups.clone()),
            is_stored: false,
        }
    }

    /// Returns the context of a document that was accepted before: what was known then may be forgotten, and what an
    /// older release let pass stays in force.
    #[must_use]
    pub fn stored() -> Self {
        Self {
            is_stored: true,
            ..Self::default()
        }
    }
}
