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
    via,
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
    exits: BTreeSet<u64>,
    placed: BTreeMap<u64, Placed>,
    classes: BTreeMap<u64, Shared<Class>>,
    settings: BTreeMap<u64, (SettingsKey, Shared<Settings>)>,
    /// How many devices are in each list of a user.
    user_lists: BTreeMap<ListId, u64>,
    routes: BTreeMap<IpNet, Arc<RouteUsers>>,
    vias: BTreeMap<u64, Arc<Via>>,
    /// Whether a list of a user came or went, or a user changed, since settings were worked out.
    users_moved: bool,
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
    /// Routes and tags that ways through chosen routers may depend on.
    routes: Vec<IpNet>,
    tags: Vec<String>,
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
            exits: BTreeSet::new(),
            placed: BTreeMap::new(),
            classes: BTreeMap::new(),
            settings: BTreeMap::new(),
            user_lists: BTreeMap::new(),
            routes: BTreeMap::new(),
            vias: BTreeMap::new(),
            users_moved: false,
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
        let before = self.full();
        let pending = std::mem::take(&mut self.changes);
        self.plan = Plan::new(&policy);
        self.settings_plan = SettingsPlan::new(&policy);
        self.policy = policy;
        self.placed.clear();
        self.classes.clear();
        self.settings.clear();
        self.user_lists.clear();
        self.routes.clear();
        self.vias.clear();
        let routes: Vec<_> = self.routers.keys().copied().collect();
        for route in routes {
            self.add_route(route);
        }
        self.refresh_vias(None);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.place(id);
        }
        self.users_moved = true;
        self.refresh_dependent_settings();
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
        self.users_moved = true;
        for node in self.nodes_of.get(&user).cloned().unwrap_or_default() {
            self.place(node);
        }
        self.refresh_dependent_settings();
    }

    /// Adds or changes a node.
    pub fn put_node(&mut self, node: Node) {
        let id = node.id;
        if self.nodes.get(&id) == Some(&node) {
            return;
        }
        self.forget(id);
        self.nodes_of.entry(node.user).or_default().insert(id);
        for route in node.subnet_routes().copied().collect::<Vec<_>>() {
            let routers = self.routers.entry(route).or_default();
            routers.insert(id);
            if routers.len() == 1 {
                self.add_route(route);
            }
        }
        if node.is_exit() {
            self.exits.insert(id);
        }
        self.nodes.insert(id, node);
        self.place(id);
        self.after(id);
    }

    /// Removes a node.
    pub fn remove_node(&mut self, id: u64) {
        self.forget(id);
        if self.nodes.remove(&id).is_none() {
            return;
        }
        if let Some(placed) = self.placed.remove(&id) {
            self.leave(&placed, None);
            self.refresh_vias(Some(&placed.tags));
        }
        self.changes.nodes.insert(id, None);
        self.refresh_dependent_settings();
    }

    /// Takes a node out of the tables of the inventory.
    fn forget(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let (user, routes) = (node.user, node.subnet_routes().copied().collect::<Vec<_>>());
        if let Some(nodes) = self.nodes_of.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.nodes_of.remove(&user);
            }
        }
        self.exits.remove(&id);
        for route in routes {
            let routers = self.routers.entry(route).or_default();
            routers.remove(&id);
            if routers.is_empty() {
                self.routers.remove(&route);
                self.remove_route(route);
            }
        }
    }

    fn after(&mut self, id: u64) {
        let tags = self.placed.get(&id).map(|placed| placed.tags.clone());
        if let Some(tags) = tags {
            self.refresh_vias(Some(&tags));
        }
        self.refresh_dependent_settings();
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

    /// Works out the ways through chosen routers again; `tags` are those of a node that changed.
    fn refresh_vias(&mut self, tags: Option<&[String]>) {
        for (id, number) in &self.plan.vias {
            let rule = self.plan.rule(*number);
            if tags.is_some_and(|tags| !tags.iter().any(|tag| rule.rule.via.contains(tag))) {
                continue;
            }
            let way = Arc::new(via::way(rule, &self.nodes, &self.routers, &self.exits));
            if self.vias.get(id) != Some(&way) {
                self.changes.vias.insert(*id, Some(Arc::clone(&way)));
                self.vias.insert(*id, way);
            }
        }
    }

    /// Works out settings that depend on who the users behind other nodes are.
    fn refresh_dependent_settings(&mut self) {
        if !std::mem::take(&mut self.users_moved) || !self.settings_plan.depends_on_users() {
            return;
        }
        for (id, (key, kept)) in &mut self.settings {
            let now = self
                .settings_plan
                .settings(key, &self.user_lists, &self.users);
            if *kept.what != now {
                kept.what = Arc::new(now);
                self.changes
                    .settings
                    .insert(*id, Some(Arc::clone(&kept.what)));
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
            routes: node.usable_routes.clone(),
            tags: node.tags.clone(),
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
            if before.tags != placed.tags {
                self.refresh_vias(Some(&before.tags));
            }
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
            self.users_moved |= *devices == 1;
        }
        let id = placed.membership.settings;
        let (_, kept) = self.settings.entry(id).or_insert_with(|| {
            let what = self
                .settings_plan
                .settings(&settings, &self.user_lists, &self.users);
            let what = Arc::new(what);
            self.changes.settings.insert(id, Some(Arc::clone(&what)));
            (settings, Shared { nodes: 0, what })
        });
        kept.nodes += 1;
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

    /// Counts a node out, dropping what nobody has any more; `now` is where it is instead.
    fn leave(&mut self, before: &Placed, now: Option<&Placed>) {
        for list in before.lists.iter().filter(|list| list.user != 0) {
            if let Some(devices) = self.user_lists.get_mut(list) {
                *devices -= 1;
                if *devices == 0 {
                    self.user_lists.remove(list);
                    self.users_moved = true;
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
                self.settings.remove(&settings);
                self.changes.settings.insert(settings, None);
            }
        }
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
                .map(|(id, (_, kept))| (*id, Some(Arc::clone(&kept.what))))
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

    /// Returns what differs from the last time this was asked; empty when nothing does.
    pub fn take_changes(&mut self) -> Output {
        std::mem::take(&mut self.changes)
    }
}
