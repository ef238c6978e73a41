//! The compiler: keeps its output up to date while users and nodes change.

mod full;
mod placing;
mod routing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    output::{Class, ListId, Membership, NodeProfile, Output, RouteUsers, Via},
    plan::AccessPlan,
    profile::{ProfileKey, ProfilePlan},
    via::TaggedRouters,
};
use crate::{
    inventory::{PolicyNode, PolicyUser},
    policy::Policy,
};

/// A policy applied to an inventory, kept up to date change by change.
///
/// The output depends on the policy, the users and the nodes, and not on the order in which they came.
#[derive(Debug)]
pub struct Compiler {
    policy: Arc<Policy>,
    plan: AccessPlan,
    profile_plan: ProfilePlan,
    users: BTreeMap<u64, PolicyUser>,
    nodes: BTreeMap<u64, PolicyNode>,
    /// The groups that there are, whether or not somebody is in them. Output does not depend on them.
    groups: BTreeSet<String>,
    /// The nodes of each user, tagged ones too.
    nodes_by_user: BTreeMap<u64, BTreeSet<u64>>,
    /// The nodes with each usable subnet route.
    routers: BTreeMap<IpNet, BTreeSet<u64>>,
    tagged_routers: TaggedRouters,
    placements: BTreeMap<u64, NodePlacement>,
    classes: BTreeMap<u64, Shared<Class>>,
    profiles: BTreeMap<u64, KeyedProfile>,
    /// How many devices are in each list of a user.
    user_lists: BTreeMap<ListId, u64>,
    routes: BTreeMap<IpNet, Arc<RouteUsers>>,
    vias: BTreeMap<u64, Arc<Via>>,
    /// For each list of single users the profiles that name these users by their logins.
    profiles_by_named_list: BTreeMap<u64, BTreeSet<u64>>,
    /// The profiles of each user's own devices, where they name the user by the login.
    profiles_by_user: BTreeMap<u64, BTreeSet<u64>>,
    /// Profiles that have to be compiled: new ones, and those of users whose login changed.
    outdated_profiles: BTreeSet<u64>,
    /// Lists of single users in which a user came, went or changed: the profiles that name them have to be compiled.
    touched_lists: BTreeSet<u64>,
    changes: Output,
}

/// Something that several nodes have, and how many.
#[derive(Debug)]
struct Shared<T> {
    nodes: usize,
    value: Arc<T>,
}

#[derive(Debug)]
struct KeyedProfile {
    key: ProfileKey,
    shared: Shared<NodeProfile>,
}

/// Where a node belongs.
#[derive(Debug, PartialEq, Eq)]
struct NodePlacement {
    membership: Membership,
    lists: BTreeSet<ListId>,
    addresses: Vec<Arc<str>>,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new(Policy::allow_all())
    }
}

impl Compiler {
    /// Returns a compiler without users and nodes.
    #[must_use]
    pub fn new(policy: impl Into<Arc<Policy>>) -> Self {
        let mut compiler = Self {
            policy: Arc::default(),
            plan: AccessPlan::default(),
            profile_plan: ProfilePlan::default(),
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
            groups: BTreeSet::new(),
            nodes_by_user: BTreeMap::new(),
            routers: BTreeMap::new(),
            tagged_routers: TaggedRouters::default(),
            placements: BTreeMap::new(),
            classes: BTreeMap::new(),
            profiles: BTreeMap::new(),
            user_lists: BTreeMap::new(),
            routes: BTreeMap::new(),
            vias: BTreeMap::new(),
            profiles_by_named_list: BTreeMap::new(),
            profiles_by_user: BTreeMap::new(),
            outdated_profiles: BTreeSet::new(),
            touched_lists: BTreeSet::new(),
            changes: Output::default(),
        };
        compiler.set_policy(policy);
        compiler
    }

    /// Returns the policy in force.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn plan(&self) -> &AccessPlan {
        &self.plan
    }

    /// Returns how many rules the plan's tables hold: placing a node looks at each of them at most.
    #[cfg(test)]
    pub(crate) fn indexed_rules(&self) -> usize {
        self.plan.indexed_rules()
    }

    /// Returns the users by number.
    #[must_use]
    pub fn users(&self) -> &BTreeMap<u64, PolicyUser> {
        &self.users
    }

    /// Returns the nodes by number.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<u64, PolicyNode> {
        &self.nodes
    }

    /// Returns the groups that there are, with `group:`, whether or not somebody is in them.
    #[must_use]
    pub fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// Says which groups there are, with `group:`: a document may name them.
    pub fn set_groups(&mut self, groups: BTreeSet<String>) {
        self.groups = groups;
    }

    /// Adds a group, with `group:`.
    pub fn add_group(&mut self, group: String) {
        self.groups.insert(group);
    }

    /// Removes a group, with `group:`.
    pub fn remove_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Returns the user that a node belongs to; a tagged node belongs to nobody.
    pub(super) fn owner_of(&self, node: &PolicyNode) -> Option<&PolicyUser> {
        if node.tags.is_empty() {
            self.users.get(&node.user)
        } else {
            None
        }
    }

    /// Puts another policy in force.
    pub fn set_policy(&mut self, policy: impl Into<Arc<Policy>>) {
        let policy = policy.into();
        self.refresh_profiles();
        let before = self.full_output();
        let pending = std::mem::take(&mut self.changes);
        self.plan = AccessPlan::new(&policy);
        self.profile_plan = ProfilePlan::new(&policy);
        self.policy = policy;
        self.placements.clear();
        self.classes.clear();
        self.profiles.clear();
        self.user_lists.clear();
        self.profiles_by_named_list.clear();
        self.profiles_by_user.clear();
        self.routes.clear();
        self.vias.clear();
        for route in self.routers.keys().copied().collect::<Vec<_>>() {
            self.add_route(route);
        }
        let vias: Vec<_> = self.plan.rule_by_via.keys().copied().collect();
        self.refresh_vias(vias);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.place_node(id);
        }
        // Later changes are differences from what is compiled here: nothing may be left to compile.
        self.refresh_profiles();
        let after = self.full_output();
        self.changes = pending;
        self.changes.add_difference(&before, &after);
    }

    /// Adds or changes a user.
    pub fn put_user(&mut self, user: PolicyUser) {
        let id = user.id;
        if self.users.get(&id) == Some(&user) {
            return;
        }
        self.users.insert(id, user);
        self.place_nodes_of(id);
    }

    /// Removes a user.
    pub fn remove_user(&mut self, id: u64) {
        self.users.remove(&id);
        self.place_nodes_of(id);
    }

    fn place_nodes_of(&mut self, user: u64) {
        for node in self.nodes_by_user.get(&user).cloned().unwrap_or_default() {
            self.place_node(node);
        }
        // The user may have another login now.
        let own = self.profiles_by_user.get(&user).into_iter().flatten();
        self.outdated_profiles.extend(own);
        for list in self.profiles_by_named_list.keys() {
            if self.user_lists.contains_key(&ListId { id: *list, user }) {
                self.touched_lists.insert(*list);
            }
        }
    }

    /// Adds or changes a node.
    pub fn put_node(&mut self, node: PolicyNode) {
        let id = node.id;
        let before = self.nodes.get(&id);
        if before == Some(&node) {
            return;
        }
        let has_same_routes = before.is_some_and(|before| {
            before.tags == node.tags && before.usable_routes == node.usable_routes
        });
        let mut vias = BTreeSet::new();
        if !has_same_routes {
            vias.extend(before.into_iter().flat_map(|node| self.vias_through(node)));
            vias.extend(self.vias_through(&node));
        }
        self.remove_from_tables(id);
        self.nodes_by_user.entry(node.user).or_default().insert(id);
        for route in node.subnet_routes().copied().collect::<Vec<_>>() {
            let routers = self.routers.entry(route).or_default();
            routers.insert(id);
            if routers.len() == 1 {
                self.add_route(route);
            }
        }
        self.tagged_routers.insert(&node);
        self.nodes.insert(id, node);
        self.place_node(id);
        self.refresh_vias(vias);
    }

    /// Removes a node.
    pub fn remove_node(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let vias = self.vias_through(node);
        self.remove_from_tables(id);
        self.nodes.remove(&id);
        if let Some(placement) = self.placements.remove(&id) {
            self.count_out(&placement, None);
        }
        self.refresh_vias(vias);
        self.changes.nodes.insert(id, None);
    }

    /// Compiles the profiles that are new, or name users that changed: once for all changes since the last time.
    fn refresh_profiles(&mut self) {
        for id in self.profiles_to_compile() {
            let Some(profile) = self.profiles.get(&id) else {
                continue;
            };
            let now = self.compile_profile(&profile.key);
            if let Some(KeyedProfile { shared, .. }) = self.profiles.get_mut(&id)
                && *shared.value != now
            {
                shared.value = Arc::new(now);
                let value = Arc::clone(&shared.value);
                self.changes.profiles.insert(id, Some(value));
            }
        }
        self.outdated_profiles.clear();
        self.touched_lists.clear();
    }

    fn profiles_to_compile(&self) -> BTreeSet<u64> {
        let mut profiles = self.outdated_profiles.clone();
        for list in &self.touched_lists {
            profiles.extend(self.profiles_by_named_list.get(list).into_iter().flatten());
        }
        profiles
    }

    fn compile_profile(&self, key: &ProfileKey) -> NodeProfile {
        let plan = &self.profile_plan;
        plan.compile_profile(key, &self.user_lists, &self.users)
    }

    /// Returns what differs from the last time this was asked; empty when nothing does.
    pub fn take_changes(&mut self) -> Output {
        self.refresh_profiles();
        std::mem::take(&mut self.changes)
    }
}
