//! The users and groups of a tailnet, as identity's log tells them.
//!
//! A user's entry names groups by number, and a group that is renamed has one entry: whoever is in it is worked out here. An
//! identity of a release that knows groups by name only says so (`has_memberships` is false), and its names count.

use std::collections::{BTreeMap, BTreeSet};

use bowline_policy::PolicyUser;
use bowline_proto::identity::v1::{Group, User};

use crate::inventory::convert_user;

/// The users and groups of a tailnet.
#[derive(Debug, Default)]
pub struct People {
    users: BTreeMap<u64, User>,
    /// The name of each group.
    groups: BTreeMap<u64, String>,
    /// Who is in each group, also in one that is not known yet.
    members: BTreeMap<u64, BTreeSet<u64>>,
}

impl People {
    /// Returns the numbers of the users.
    pub fn user_ids(&self) -> impl Iterator<Item = u64> {
        self.users.keys().copied()
    }

    /// Returns the users as the policy sees them.
    pub fn policy_users(&self) -> impl Iterator<Item = PolicyUser> {
        self.users.values().map(|user| self.convert(user))
    }

    /// Returns the groups, with `group:`.
    pub fn group_names(&self) -> BTreeSet<String> {
        let ids = self.groups.keys();
        ids.filter_map(|id| self.group_name(*id)).collect()
    }

    /// Returns what a group is called, with `group:`.
    pub fn group_name(&self, id: u64) -> Option<String> {
        self.groups.get(&id).map(|name| format!("group:{name}"))
    }

    /// Adds or changes a user, and returns it as the policy sees it.
    pub fn put_user(&mut self, user: User) -> PolicyUser {
        self.forget_user(user.id);
        for membership in &user.memberships {
            let members = self.members.entry(membership.group_id).or_default();
            members.insert(user.id);
        }
        let converted = self.convert(&user);
        self.users.insert(user.id, user);
        converted
    }

    /// Removes a user, and returns the numbers that it had.
    pub fn remove_user(&mut self, id: u64) -> Vec<u64> {
        let mut gone = vec![id];
        if let Some(user) = self.forget_user(id) {
            for former in user.former_ids {
                self.forget_user(former);
                gone.push(former);
            }
        }
        gone
    }

    fn forget_user(&mut self, id: u64) -> Option<User> {
        let gone = self.users.remove(&id)?;
        for membership in &gone.memberships {
            if let Some(members) = self.members.get_mut(&membership.group_id) {
                members.remove(&id);
                if members.is_empty() {
                    self.members.remove(&membership.group_id);
                }
            }
        }
        Some(gone)
    }

    /// Adds or renames a group, and returns its members as the policy sees them.
    pub fn put_group(&mut self, group: Group) -> Vec<PolicyUser> {
        self.groups.insert(group.id, group.name);
        self.members_of(group.id)
    }

    /// Removes a group, and returns who was in it as the policy sees them.
    pub fn remove_group(&mut self, id: u64) -> Vec<PolicyUser> {
        self.groups.remove(&id);
        self.members_of(id)
    }

    fn members_of(&self, group: u64) -> Vec<PolicyUser> {
        let members = self.members.get(&group).into_iter().flatten();
        let known = members.filter_map(|id| self.users.get(id));
        known.map(|user| self.convert(user)).collect()
    }

    fn convert(&self, user: &User) -> PolicyUser {
        if !user.has_memberships {
            return convert_user(user, &user.groups);
        }
        let groups = user.memberships.iter();
        let groups = groups.filter_map(|one| self.groups.get(&one.group_id));
        let mut groups: Vec<_> = groups.cloned().collect();
        groups.sort();
        groups.dedup();
        convert_user(user, &groups)
    }
}

#[cfg(test)]
mod tests;
