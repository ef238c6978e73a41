//! The compiler: keeps what it put out up to date while users and nodes change.

mod full;
mod placing;
mod routing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    output::{Class, ListId, Membership, Output, RouteUsers, Settings, Via},
    plan::Plan,
    settings::{SettingsKey, SettingsPlan},
    via::TaggedRouters,
};
use crate::{
    inventory::{Node, User},
    policy::Policy,
};

/// A policy applied to an inventory, kept up to date change by change.
///
/// What it puts out is a function of the two alone, however they came to be.
#[derive(Debug)]
pub struct Compiler {
    policy: Arc<Policy>,
    plan: Plan,
    settings_plan: SettingsPlan,
    users: BTreeMap<u64, User>,
    nodes: BTreeMap<u64, Node>,
    /// The nodes of each user, tagged ones too.
    nodes_of: BTreeMap<u64, BTreeSet<u64>>,
    /// The nodes behind each usable subnet route.
    routers: BTreeMap<IpNet, BTreeSet<u64>>,
    tagged_routers: TaggedRouters,
    placed: BTreeMap<u64, Placed>,
    classes: BTreeMap<u64, Shared<Class>>,
    settings: BTreeMap<u64, (SettingsKey, Shared<Settings>)>,
    /// How many devices are in each list of a user.
    user_lists: BTreeMap<ListId, u64>,
    routes: BTreeMap<IpNet, Arc<RouteUsers>>,
    vias: BTreeMap<u64, Arc<Via>>,
    /// For each list of users the settings that say who of them may log in.
    naming: BTreeMap<u64, BTreeSet<u64>>,
    /// The settings of each user's own devices, where the login name matters.
    own_settings: BTreeMap<u64, BTreeSet<u64>>,
    /// Settings to be worked out: new ones, and those of users whose login name changed.
    outdated: BTreeSet<u64>,
    /// Lists of users of which one came, went or changed: settings that say who of them may log in are to be worked
    /// out again.
    touched: BTreeSet<u64>,
    changes: Output,
}

/// Something that several nodes have.
#[derive(Debug)]
struct Shared<T> {
    nodes: usize,
    what: Arc<T>,
}

/// Where a node is.
#[derive(Debug, PartialEq, Eq)]
struct Placed {
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
            plan: Plan::default(),
            settings_plan: SettingsPlan::default(),
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
            nodes_of: BTreeMap::new(),
            routers: BTreeMap::new(),
            tagged_routers: TaggedRouters::default(),
            placed: BTreeMap::new(),
            classes: BTreeMap::new(),
            settings: BTreeMap::new(),
            user_lists: BTreeMap::new(),
            routes: BTreeMap::new(),
            vias: BTreeMap::new(),
            naming: BTreeMap::new(),
            own_settings: BTreeMap::new(),
            outdated: BTreeSet::new(),
            touched: BTreeSet::new(),
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

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns how many rules are found by their parties: applying the policy to a node looks at each of them at most.
    #[cfg(test)]
    pub(crate) fn filed_rules(&self) -> usize {
        self.plan.filed_rules()
    }

    /// Returns the users by number.
    #[must_use]
    pub fn users(&self) -> &BTreeMap<u64, User> {
        &self.users
    }

    /// Returns the nodes by number.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<u64, Node> {
        &self.nodes
    }

    /// Puts another policy in force.
    pub fn set_policy(&mut self, policy: impl Into<Arc<Policy>>) {
        let policy = policy.into();
        self.refresh_settings();
        let before = self.full();
        let pending = std::mem::take(&mut self.changes);
        self.plan = Plan::new(&policy);
        self.settings_plan = SettingsPlan::new(&policy);
        self.policy = policy;
        self.placed.clear();
        self.classes.clear();
        self.settings.clear();
        self.user_lists.clear();
        self.naming.clear();
        self.own_settings.clear();
        self.routes.clear();
        self.vias.clear();
        let routes: Vec<_> = self.routers.keys().copied().collect();
        for route in routes {
            self.add_route(route);
        }
        let ways: Vec<_> = self.plan.vias.keys().copied().collect();
        self.refresh_vias(ways);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.place(id);
        }
        // What is told as the difference is what later differences start from.
        self.refresh_settings();
        let after = self.full();
        self.changes = pending;
        self.changes.add_difference(&before, &after);
    }

    /// Adds or changes a user.
    pub fn put_user(&mut self, user: User) {
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
        for node in self.nodes_of.get(&user).cloned().unwrap_or_default() {
            self.place(node);
        }
        // The name they log in by may be another.
        let own = self.own_settings.get(&user).into_iter().flatten();
        self.outdated.extend(own);
        for list in self.naming.keys() {
            if self.user_lists.contains_key(&ListId { id: *list, user }) {
                self.touched.insert(*list);
            }
        }
    }

    /// Adds or changes a node.
    pub fn put_node(&mut self, node: Node) {
        let id = node.id;
        let before = self.nodes.get(&id);
        if before == Some(&node) {
            return;
        }
        let routed = |node: &Node| (node.tags.clone(), node.usable_routes.clone());
        let reroutes = before.map(routed) != Some(routed(&node));
        let mut ways = self.ways_of(before.filter(|_| reroutes));
        ways.extend(self.ways_of(Some(&node).filter(|_| reroutes)));
        self.forget(id);
        self.nodes_of.entry(node.user).or_default().insert(id);
        for route in node.subnet_routes().copied().collect::<Vec<_>>() {
            let routers = self.routers.entry(route).or_default();
            routers.insert(id);
            if routers.len() == 1 {
                self.add_route(route);
            }
        }
        self.tagged_routers.insert(&node);
        self.nodes.insert(id, node);
        self.place(id);
        self.refresh_vias(ways);
    }

    /// Removes a node.
    pub fn remove_node(&mut self, id: u64) {
        let ways = self.ways_of(self.nodes.get(&id));
        self.forget(id);
        if self.nodes.remove(&id).is_none() {
            return;
        }
        if let Some(placed) = self.placed.remove(&id) {
            self.leave(&placed, None);
        }
        self.refresh_vias(ways);
        self.changes.nodes.insert(id, None);
    }

    /// Works out settings that are new, or depend on who the users behind other nodes are: once for all changes since
    /// the last time.
    fn refresh_settings(&mut self) {
        for id in self.outdated() {
            let Some((key, _)) = self.settings.get(&id) else {
                continue;
            };
            let now = self.worked_out(key);
            if let Some((_, kept)) = self.settings.get_mut(&id)
                && *kept.what != now
            {
                kept.what = Arc::new(now);
                let what = Arc::clone(&kept.what);
                self.changes.settings.insert(id, Some(what));
            }
        }
        self.outdated.clear();
        self.touched.clear();
    }

    /// Returns the settings that are to be worked out.
    fn outdated(&self) -> BTreeSet<u64> {
        let naming = self.touched.iter().filter_map(|list| self.naming.get(list));
        self.outdated
            .iter()
            .chain(naming.flatten())
            .copied()
            .collect()
    }

    fn worked_out(&self, key: &SettingsKey) -> Settings {
        let plan = &self.settings_plan;
        plan.settings(key, &self.user_lists, &self.users)
    }

    /// Returns what differs from the last time this was asked; empty when nothing does.
    pub fn take_changes(&mut self) -> Output {
        self.refresh_settings();
        std::mem::take(&mut self.changes)
    }
}
