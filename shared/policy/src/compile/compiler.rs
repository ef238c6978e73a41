//! The compiler: keeps what it put out up to date while users and nodes change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    class::ClassKey,
    output::{Class, ListChange, ListId, Membership, Output, RouteUsers, Settings, Via},
    plan::Plan,
    route,
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
    /// Settings to be worked out again, for users came, went or changed.
    outdated: BTreeSet<u64>,
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
        for (list, settings) in &self.naming {
            if self.user_lists.contains_key(&ListId { id: *list, user }) {
                self.outdated.extend(settings);
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

    /// Returns the ways that may go through a node.
    fn ways_of(&self, node: Option<&Node>) -> BTreeSet<u64> {
        let tags = node.into_iter().flat_map(|node| &node.tags);
        let ways = tags.filter_map(|tag| self.plan.ways_of.get(tag));
        ways.flatten().copied().collect()
    }

    /// Takes a node out of the tables of the inventory.
    fn forget(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let (user, routes) = (node.user, node.subnet_routes().copied().collect::<Vec<_>>());
        self.tagged_routers.remove(node);
        if let Some(nodes) = self.nodes_of.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.nodes_of.remove(&user);
            }
        }
        for route in routes {
            let routers = self.routers.entry(route).or_default();
            routers.remove(&id);
            if routers.is_empty() {
                self.routers.remove(&route);
                self.remove_route(route);
            }
        }
    }

    fn add_route(&mut self, route: IpNet) {
        let users = Arc::new(route::users(&self.plan, route));
        self.changes.routes.insert(route, Some(Arc::clone(&users)));
        self.routes.insert(route, users);
        let element: Arc<str> = Arc::from(route.to_string());
        for list in self.lists_with_routes() {
            if !self.plan.lists.has_literal(list, &element) {
                self.changes.add(list, &element);
            }
        }
    }

    fn remove_route(&mut self, route: IpNet) {
        self.routes.remove(&route);
        self.changes.routes.insert(route, None);
        let element: Arc<str> = Arc::from(route.to_string());
        for list in self.lists_with_routes() {
            if !self.plan.lists.has_literal(list, &element) {
                self.changes.remove(list, &element);
            }
        }
    }

    fn lists_with_routes(&self) -> Vec<ListId> {
        let lists = &self.plan.lists;
        let numbers = lists.with_routes.iter();
        let id = |number: &u32| ListId {
            id: lists.all[*number as usize].id,
            user: 0,
        };
        numbers.map(id).collect()
    }

    /// Works out ways through chosen routers again.
    fn refresh_vias(&mut self, ways: impl IntoIterator<Item = u64>) {
        for id in ways {
            let Some(number) = self.plan.vias.get(&id) else {
                continue;
            };
            let rule = self.plan.rule(*number);
            let way = Arc::new(self.tagged_routers.way(rule, &self.nodes));
            if self.vias.get(&id) != Some(&way) {
                self.changes.vias.insert(id, Some(Arc::clone(&way)));
                self.vias.insert(id, way);
            }
        }
    }

    /// Works out settings again that depend on who the users behind other nodes are.
    fn refresh_settings(&mut self) {
        for id in std::mem::take(&mut self.outdated) {
            let Some((key, kept)) = self.settings.get_mut(&id) else {
                continue;
            };
            let now = self
                .settings_plan
                .settings(key, &self.user_lists, &self.users);
            if *kept.what != now {
                kept.what = Arc::new(now);
                let what = Arc::clone(&kept.what);
                self.changes.settings.insert(id, Some(what));
            }
        }
    }

    /// Puts a node into its class, its settings and its lists.
    fn place(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let user = self.users.get(&node.user).filter(|_| node.tags.is_empty());
        let owner = user.map_or(0, |user| user.id);
        let class_key = ClassKey::new(&self.plan, node, user);
        let settings_key = self.settings_plan.key(node, user);
        let mut lists = self.plan.lists.fed(class_key.selected(), owner);
        lists.extend(self.settings_plan.fed(node, &settings_key, owner));
        let addresses = node.addresses();
        let placed = Placed {
            membership: Membership {
                class: class_key.id(&self.plan),
                settings: settings_key.id(&self.settings_plan),
            },
            lists,
            addresses: addresses
                .map(|address| Arc::from(address.to_string()))
                .collect(),
        };
        let before = self.placed.remove(&id);
        if before.as_ref() == Some(&placed) {
            self.placed.insert(id, placed);
            return;
        }
        self.enter(&placed, &class_key, settings_key, before.as_ref());
        if before.as_ref().map(|before| before.membership) != Some(placed.membership) {
            self.changes.nodes.insert(id, Some(placed.membership));
        }
        if let Some(before) = before {
            self.leave(&before, Some(&placed));
        }
        self.placed.insert(id, placed);
    }

    /// Counts a node in, making what is new.
    fn enter(
        &mut self,
        placed: &Placed,
        class: &ClassKey,
        settings: SettingsKey,
        before: Option<&Placed>,
    ) {
        let id = placed.membership.class;
        let kept = self.classes.entry(id).or_insert_with(|| {
            let what = Arc::new(class.class(&self.plan));
            self.changes.classes.insert(id, Some(Arc::clone(&what)));
            Shared { nodes: 0, what }
        });
        kept.nodes += 1;
        for list in placed.lists.iter().filter(|list| list.user != 0) {
            let devices = self.user_lists.entry(*list).or_default();
            *devices += 1;
            if *devices == 1 {
                let naming = self.naming.get(&list.id);
                self.outdated.extend(naming.into_iter().flatten());
            }
        }
        self.enter_settings(placed.membership.settings, settings);
        let same_addresses = before.is_some_and(|before| before.addresses == placed.addresses);
        for list in &placed.lists {
            if same_addresses && before.is_some_and(|before| before.lists.contains(list)) {
                continue;
            }
            for address in &placed.addresses {
                if !self.plan.lists.has_literal(*list, address) {
                    self.changes.add(*list, address);
                }
            }
        }
    }

    /// Counts a node of some settings in, making these when they are new.
    fn enter_settings(&mut self, id: u64, key: SettingsKey) {
        let (_, kept) = self.settings.entry(id).or_insert_with(|| {
            for list in self.settings_plan.named_by(&key) {
                self.naming.entry(list).or_default().insert(id);
            }
            if let Some(user) = self.settings_plan.named_self(&key) {
                self.own_settings.entry(user).or_default().insert(id);
            }
            let what = self
                .settings_plan
                .settings(&key, &self.user_lists, &self.users);
            let what = Arc::new(what);
            self.changes.settings.insert(id, Some(Arc::clone(&what)));
            (key, Shared { nodes: 0, what })
        });
        kept.nodes += 1;
    }

    /// Counts a node out, dropping what nobody has any more; `now` is where it is instead.
    fn leave(&mut self, before: &Placed, now: Option<&Placed>) {
        for list in before.lists.iter().filter(|list| list.user != 0) {
            if let Some(devices) = self.user_lists.get_mut(list) {
                *devices -= 1;
                if *devices == 0 {
                    self.user_lists.remove(list);
                    let naming = self.naming.get(&list.id);
                    self.outdated.extend(naming.into_iter().flatten());
                }
            }
        }
        for list in &before.lists {
            let stays = now.filter(|now| now.lists.contains(list));
            for address in &before.addresses {
                let kept = stays.is_some_and(|now| now.addresses.contains(address));
                if !kept && !self.plan.lists.has_literal(*list, address) {
                    self.changes.remove(*list, address);
                }
            }
        }
        let Membership { class, settings } = before.membership;
        if let Some(kept) = self.classes.get_mut(&class) {
            kept.nodes -= 1;
            if kept.nodes == 0 {
                self.classes.remove(&class);
                self.changes.classes.insert(class, None);
            }
        }
        if let Some((_, kept)) = self.settings.get_mut(&settings) {
            kept.nodes -= 1;
            if kept.nodes == 0 {
                self.drop_settings(settings);
            }
        }
    }

    fn drop_settings(&mut self, id: u64) {
        let Some((key, _)) = self.settings.remove(&id) else {
            return;
        };
        for list in self.settings_plan.named_by(&key) {
            drop_from(&mut self.naming, list, id);
        }
        if let Some(user) = self.settings_plan.named_self(&key) {
            drop_from(&mut self.own_settings, user, id);
        }
        self.outdated.remove(&id);
        self.changes.settings.insert(id, None);
    }

    /// Returns everything.
    #[must_use]
    pub fn full(&self) -> Output {
        let mut lists: BTreeMap<ListId, Vec<Arc<str>>> = BTreeMap::new();
        let routes: Vec<Arc<str>> = self
            .routers
            .keys()
            .map(|route| Arc::from(route.to_string()))
            .collect();
        for list in self
            .plan
            .lists
            .all
            .iter()
            .filter(|list| !list.literals.is_empty())
        {
            let elements = lists
                .entry(ListId {
                    id: list.id,
                    user: 0,
                })
                .or_default();
            elements.extend(list.literals.iter().cloned());
            if list.has_routes {
                elements.extend(routes.iter().cloned());
            }
        }
        for placed in self.placed.values() {
            for list in &placed.lists {
                lists
                    .entry(*list)
                    .or_default()
                    .extend(placed.addresses.iter().cloned());
            }
        }
        let filled = |(id, elements): (ListId, Vec<Arc<str>>)| {
            let added = elements.into_iter().collect();
            (
                id,
                ListChange {
                    added,
                    ..ListChange::default()
                },
            )
        };
        Output {
            common_filter: Some(Arc::clone(&self.plan.common_filter)),
            derp_map: Some(Arc::from(
                self.policy.derp_map.as_deref().unwrap_or_default(),
            )),
            classes: self
                .classes
                .iter()
                .map(|(id, kept)| (*id, Some(Arc::clone(&kept.what))))
                .collect(),
            settings: self
                .settings
                .iter()
                .map(|(id, (key, kept))| (*id, Some(self.current(*id, key, kept))))
                .collect(),
            lists: lists.into_iter().map(filled).collect(),
            routes: self
                .routes
                .iter()
                .map(|(route, users)| (*route, Some(Arc::clone(users))))
                .collect(),
            vias: self
                .vias
                .iter()
                .map(|(id, way)| (*id, Some(Arc::clone(way))))
                .collect(),
            nodes: self
                .placed
                .iter()
                .map(|(id, placed)| (*id, Some(placed.membership)))
                .collect(),
        }
    }

    /// Returns settings as they are now.
    fn current(&self, id: u64, key: &SettingsKey, kept: &Shared<Settings>) -> Arc<Settings> {
        if !self.outdated.contains(&id) {
            return Arc::clone(&kept.what);
        }
        let plan = &self.settings_plan;
        Arc::new(plan.settings(key, &self.user_lists, &self.users))
    }

    /// Returns what differs from the last time this was asked; empty when nothing does.
    pub fn take_changes(&mut self) -> Output {
        self.refresh_settings();
        std::mem::take(&mut self.changes)
    }
}

fn drop_from(table: &mut BTreeMap<u64, BTreeSet<u64>>, key: u64, id: u64) {
    if let Some(ids) = table.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            table.remove(&key);
        }
    }
}
