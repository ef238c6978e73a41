//! What is known of the tailnet that a document is read for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    inventory::{PolicyUser, own_domains},
    policy::Policy,
};

/// What is known of the tailnet that a document is read for; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct DocumentContext {
    /// The tailnet's own domains, in lower case. `user:*@` with another domain is refused; while no domain is known, any
    /// is accepted.
    pub domains: BTreeSet<String>,
    /// The groups that it has, with `group:`, whether or not somebody is in them; `None` while they are not known.
    pub groups: Option<BTreeSet<String>>,
    /// The groups that the document in force names and does not define.
    pub groups_in_force: BTreeSet<String>,
    /// Whether the document was accepted before: checks that are newer than it only warn.
    pub is_stored: bool,
}

impl DocumentContext {
    /// Returns what is known of a tailnet with these users, and these groups beside those that the users are in.
    #[must_use]
    pub fn for_tailnet(
        users: &BTreeMap<u64, PolicyUser>,
        groups: &BTreeSet<String>,
        in_force: Option<&Policy>,
    ) -> Self {
        let joined = users.values().flat_map(|user| &user.groups);
        Self {
            domains: own_domains(users),
            groups: Some(groups.iter().chain(joined).cloned().collect()),
            groups_in_force: in_force
                .map_or_else(BTreeSet::new, |policy| policy.synced_groups.clone()),
            is_stored: false,
        }
    }

    /// Returns the context of a document that was accepted before. It stays in force, whatever has changed in the tailnet
    /// and whatever an older release did not notice.
    #[must_use]
    pub fn for_stored_document() -> Self {
        Self {
            is_stored: true,
            ..Self::default()
        }
    }
}
