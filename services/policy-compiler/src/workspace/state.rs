//! What a workspace knows: the compiler, and what it was fed.

use std::collections::BTreeSet;

use bowline_change_feed::{IdentityLog, RegistryLog, Update};
use bowline_policy::Compiler;
use bowline_proto::{
    identity::v1::{IdentitySnapshot, User, identity_change::Change},
    key_registry::v1::registry_change,
    policy::v1::{CompiledUpdate, Stamp},
};

use super::events::{PolicyInForce, WorkspaceEvent};
use crate::{inventory, message, people::People};

/// The state of a workspace.
#[derive(Debug, Default)]
pub(super) struct WorkspaceState {
    pub(super) compiler: Compiler,
    /// What the compiler has been given: the version, and a revision of each log.
    pub(super) stamp: Stamp,
    has_policy: bool,
    has_users: bool,
    has_nodes: bool,
    people: People,
    nodes: BTreeSet<u64>,
}

impl WorkspaceState {
    /// Says whether users, nodes and a policy have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.has_policy && self.has_users && self.has_nodes
    }

    /// Returns everything that is compiled, as the messages of one update.
    pub(super) fn full_update(&self) -> Vec<CompiledUpdate> {
        message::update_messages(&self.compiler.full_output(), self.stamp, true)
    }

    /// Gives an event to the compiler.
    pub(super) fn apply_event(&mut self, event: WorkspaceEvent) {
        match event {
            WorkspaceEvent::Policy(PolicyInForce {
                version, policy, ..
            }) => {
                self.compiler.set_policy(policy);
                self.stamp.policy_version = version;
                self.has_policy = true;
            }
            WorkspaceEvent::Identity(update) => self.apply_users(update),
            WorkspaceEvent::Registry(update) => self.apply_nodes(update),
            #[cfg(test)]
            WorkspaceEvent::Impossible => panic!("the test wants it so"),
        }
    }

    fn apply_users(&mut self, update: Update<IdentityLog>) {
        match update {
            Update::Snapshot(snapshot) => {
                self.replace_people(snapshot.chunks);
                self.has_users = true;
                self.stamp.identity_revision = snapshot.position.revision;
            }
            Update::Changes(changes, position) => {
                for change in changes.entries.into_iter().filter_map(|entry| entry.change) {
                    self.apply_identity_change(change);
                }
                self.stamp.identity_revision = position.revision;
            }
        }
    }

    fn replace_people(&mut self, chunks: Vec<IdentitySnapshot>) {
        let mut people = People::default();
        for chunk in chunks {
            for group in chunk.groups {
                people.put_group(group);
            }
            for user in chunk.users.into_iter().flat_map(User::under_each_id) {
                people.put_user(user);
            }
        }
        let present: BTreeSet<u64> = people.user_ids().collect();
        for gone in self.people.user_ids().filter(|id| !present.contains(id)) {
            self.compiler.remove_user(gone);
        }
        for user in people.policy_users() {
            self.compiler.put_user(user);
        }
        self.compiler.set_groups(people.group_names());
        self.people = people;
    }

    fn apply_identity_change(&mut self, change: Change) {
        let changed = match change {
            Change::User(user) => {
                let known = user.under_each_id();
                known.map(|user| self.people.put_user(user)).collect()
            }
            Change::UserDeleted(id) => {
                for gone in self.people.remove_user(id) {
                    self.compiler.remove_user(gone);
                }
                return;
            }
            Change::Group(group) => {
                self.remove_group_name(group.id);
                let id = group.id;
                let changed = self.people.put_group(group);
                if let Some(name) = self.people.group_name(id) {
                    self.compiler.add_group(name);
                }
                changed
            }
            Change::GroupDeleted(id) => {
                self.remove_group_name(id);
                self.people.remove_group(id)
            }
            Change::Tailnet(_) | Change::TailnetDeleted(_) => return,
        };
        for user in changed {
            self.compiler.put_user(user);
        }
    }

    fn remove_group_name(&mut self, id: u64) {
        if let Some(name) = self.people.group_name(id) {
            self.compiler.remove_group(&name);
        }
    }

    fn apply_nodes(&mut self, update: Update<RegistryLog>) {
        match update {
            Update::Snapshot(snapshot) => {
                let nodes = || snapshot.chunks.iter().flat_map(|chunk| &chunk.nodes);
                let present: BTreeSet<u64> = nodes().map(|node| node.id).collect();
                for gone in self.nodes.difference(&present) {
                    self.compiler.remove_node(*gone);
                }
                for node in nodes() {
                    self.compiler.put_node(inventory::convert_node(node));
                }
                self.nodes = present;
                self.has_nodes = true;
                self.stamp.registry_revision = snapshot.position.revision;
            }
            Update::Changes(changes, position) => {
                for entry in changes.entries {
                    match entry.change {
                        Some(registry_change::Change::Node(node)) => {
                            self.nodes.insert(node.id);
                            self.compiler.put_node(inventory::convert_node(&node));
                        }
                        Some(registry_change::Change::NodeDeleted(id)) => {
                            self.nodes.remove(&id);
                            self.compiler.remove_node(id);
                        }
                        // What nodes sign is no matter of the policy.
                        Some(registry_change::Change::Lock(_)) | None => {}
                    }
                }
                self.stamp.registry_revision = position.revision;
            }
        }
    }
}
