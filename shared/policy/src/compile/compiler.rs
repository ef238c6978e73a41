//! The compiler: keeps classes and source lists while users and nodes change.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    class::ClassKey,
    output::{Class, FilterRule, Membership, Output, SourceList},
    source_list::ListKey,
};
use crate::{
    inventory::{Node, User},
    policy::{Policy, Rule},
    selector::Selector,
};

/// A policy applied to an inventory, kept up to date change by change.
///
/// What it puts out is a function of the two alone, however they came to be.
#[derive(Debug)]
pub struct Compiler {
    policy: Policy,
    /// Every selector of the rules.
    selectors: BTreeSet<Selector>,
    has_own_rules: bool,
    users: BTreeMap<u64, User>,
    nodes: BTreeMap<u64, Node>,
    /// The nodes of each user, tagged ones too.
    nodes_of: BTreeMap<u64, BTreeSet<u64>>,
    class_of: BTreeMap<u64, u64>,
    classes: BTreeMap<u64, Kept>,
    lists: BTreeMap<u64, (ListKey, SourceList)>,
    changes: Output,
}

/// A class with its nodes.
#[derive(Debug)]
struct Kept {
    key: ClassKey,
    nodes: BTreeSet<u64>,
    class: Class,
}

impl Default for Compiler {
    fn default() -> Self {
        Self::new(Policy::allow_all())
    }
}

impl Compiler {
    /// Returns a compiler without users and nodes.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let mut compiler = Self {
            policy: Policy::default(),
            selectors: BTreeSet::new(),
            has_own_rules: false,
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
            nodes_of: BTreeMap::new(),
            class_of: BTreeMap::new(),
            classes: BTreeMap::new(),
            lists: BTreeMap::new(),
            changes: Output::default(),
        };
        compiler.set_policy(policy);
        compiler
    }

    /// Returns the policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Puts another policy in force.
    pub fn set_policy(&mut self, policy: Policy) {
        let rules = policy.rules.iter();
        self.selectors = rules
            .flat_map(|rule| rule.sources.iter().chain([&rule.destination]))
            .filter(|selector| {
                !matches!(selector, Selector::Any | Selector::Own | Selector::Internet)
            })
            .cloned()
            .collect();
        self.has_own_rules = policy
            .rules
            .iter()
            .any(|rule| rule.destination == Selector::Own);
        self.policy = policy;
        let before = std::mem::take(&mut self.classes);
        let lists_before = std::mem::take(&mut self.lists);
        let class_before = std::mem::take(&mut self.class_of);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.place(id);
        }
        self.changes
            .classes
            .retain(|id, class| before.get(id).is_none_or(|kept| kept.class != *class));
        let gone = before.keys().filter(|id| !self.classes.contains_key(id));
        self.changes.removed_classes = gone.copied().collect();
        self.changes
            .source_lists
            .retain(|id, list| lists_before.get(id).is_none_or(|(_, known)| known != list));
        let gone = lists_before
            .keys()
            .filter(|id| !self.lists.contains_key(id));
        self.changes.removed_source_lists = gone.copied().collect();
        self.changes
            .memberships
            .retain(|member| class_before.get(&member.node) != Some(&member.class));
    }

    /// Adds or changes a user.
    pub fn put_user(&mut self, user: User) {
        let id = user.id;
        if self.users.get(&id) != Some(&user) {
            self.touch_user(id, |users| {
                users.insert(id, user);
            });
        }
    }

    /// Removes a user.
    pub fn remove_user(&mut self, id: u64) {
        self.touch_user(id, |users| {
            users.remove(&id);
        });
    }

    fn touch_user(&mut self, id: u64, change: impl FnOnce(&mut BTreeMap<u64, User>)) {
        let nodes: Vec<_> = self
            .nodes_of
            .get(&id)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let fed_before: BTreeSet<_> = nodes
            .iter()
            .flat_map(|node| self.fed_lists(*node))
            .collect();
        change(&mut self.users);
        for node in &nodes {
            self.place(*node);
        }
        let fed_now = nodes.iter().flat_map(|node| self.fed_lists(*node));
        let fed: BTreeSet<_> = fed_before
            .into_iter()
            .chain(fed_now.collect::<Vec<_>>())
            .collect();
        self.refresh_lists(&fed);
    }

    /// Adds or changes a node.
    pub fn put_node(&mut self, node: Node) {
        let id = node.id;
        if self.nodes.get(&id) == Some(&node) {
            return;
        }
        let mut fed: BTreeSet<_> = self.fed_lists(id).collect();
        if let Some(before) = self.nodes.get(&id) {
            self.nodes_of.entry(before.user).or_default().remove(&id);
        }
        self.nodes_of.entry(node.user).or_default().insert(id);
        self.nodes.insert(id, node);
        self.place(id);
        fed.extend(self.fed_lists(id).collect::<Vec<_>>());
        self.refresh_lists(&fed);
    }

    /// Removes a node.
    pub fn remove_node(&mut self, id: u64) {
        let fed: BTreeSet<_> = self.fed_lists(id).collect();
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        self.nodes_of.entry(node.user).or_default().remove(&id);
        if let Some(class) = self.class_of.remove(&id) {
            self.leave(id, class);
        }
        self.changes.memberships.retain(|member| member.node != id);
        self.changes.removed_nodes.insert(id);
        self.refresh_lists(&fed);
    }

    /// Puts a node into its class.
    fn place(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let user = self.users.get(&node.user);
        let key = ClassKey::new(
            &self.policy,
            &self.selectors,
            self.has_own_rules,
            node,
            user,
        );
        let class = key.id();
        let before = self.class_of.insert(id, class);
        if before == Some(class) {
            return;
        }
        match self.classes.get_mut(&class) {
            Some(kept) => {
                kept.nodes.insert(id);
            }
            None => self.add_class(class, key, id),
        }
        if let Some(before) = before {
            self.leave(id, before);
        }
        self.changes.removed_nodes.remove(&id);
        self.changes.memberships.retain(|member| member.node != id);
        self.changes
            .memberships
            .push(Membership { node: id, class });
    }

    fn add_class(&mut self, id: u64, key: ClassKey, node: u64) {
        let mut class = Class {
            filter: self.filter(&key),
            ..Class::default()
        };
        for (other_id, other) in &mut self.classes {
            if let Some(visible) = key.sees(&other.key, &self.policy.rules) {
                class.visible.insert(*other_id, visible);
            }
            if let Some(visible) = other.key.sees(&key, &self.policy.rules) {
                other.class.visible.insert(id, visible);
                self.changes.classes.insert(*other_id, other.class.clone());
            }
        }
        if let Some(visible) = key.sees(&key, &self.policy.rules) {
            class.visible.insert(id, visible);
        }
        self.changes.removed_classes.remove(&id);
        self.changes.classes.insert(id, class.clone());
        self.classes.insert(
            id,
            Kept {
                key,
                nodes: BTreeSet::from([node]),
                class,
            },
        );
    }

    fn leave(&mut self, node: u64, class: u64) {
        let Some(kept) = self.classes.get_mut(&class) else {
            return;
        };
        kept.nodes.remove(&node);
        if !kept.nodes.is_empty() {
            return;
        }
        self.classes.remove(&class);
        self.changes.classes.remove(&class);
        self.changes.removed_classes.insert(class);
        for (id, other) in &mut self.classes {
            if other.class.visible.remove(&class).is_some() {
                self.changes.classes.insert(*id, other.class.clone());
            }
        }
        self.drop_unused_lists();
    }

    /// Returns the filter of a class; makes the source lists it needs.
    fn filter(&mut self, key: &ClassKey) -> Vec<FilterRule> {
        let mut filter: Vec<FilterRule> = Vec::new();
        for index in 0..self.policy.rules.len() {
            let rule = &self.policy.rules[index];
            let destinations = key.destinations(rule);
            if destinations.is_empty() {
                continue;
            }
            let protocols = rule.protocols.clone();
            let source_list = self.list(list_key(rule, key));
            // Rules with the same sources and protocols are one (policy reference section 7.5).
            let same = filter
                .iter_mut()
                .find(|known| (known.source_list, &known.protocols) == (source_list, &protocols));
            match same {
                Some(known) => known.destinations.extend(destinations),
                None => filter.push(FilterRule {
                    source_list,
                    destinations,
                    protocols,
                }),
            }
        }
        filter
    }

    fn list(&mut self, key: ListKey) -> u64 {
        let id = key.id();
        if !self.lists.contains_key(&id) {
            let list = key.elements(&self.policy, inventory(&self.nodes, &self.users));
            self.changes.removed_source_lists.remove(&id);
            self.changes.source_lists.insert(id, list.clone());
            self.lists.insert(id, (key, list));
        }
        id
    }

    /// Returns the lists that a node feeds.
    fn fed_lists(&self, id: u64) -> impl Iterator<Item = u64> {
        let node = self.nodes.get(&id);
        let fed = node.into_iter().flat_map(|node| {
            let user = self.users.get(&node.user).filter(|_| node.tags.is_empty());
            self.lists
                .iter()
                .filter(move |(_, (key, _))| key.is_fed_by(&self.policy, node, user))
                .map(|(list, _)| *list)
        });
        fed.collect::<Vec<_>>().into_iter()
    }

    fn refresh_lists(&mut self, lists: &BTreeSet<u64>) {
        for id in lists {
            let Some((key, known)) = self.lists.get_mut(id) else {
                continue;
            };
            let now = key.elements(&self.policy, inventory(&self.nodes, &self.users));
            if *known != now {
                self.changes.source_lists.insert(*id, now.clone());
                *known = now;
            }
        }
    }

    fn drop_unused_lists(&mut self) {
        let used: BTreeSet<u64> = self
            .classes
            .values()
            .flat_map(|kept| kept.class.filter.iter().map(|rule| rule.source_list))
            .collect();
        let unused: Vec<_> = self
            .lists
            .keys()
            .filter(|id| !used.contains(id))
            .copied()
            .collect();
        for id in unused {
            self.lists.remove(&id);
            self.changes.source_lists.remove(&id);
            self.changes.removed_source_lists.insert(id);
        }
    }

    /// Returns everything.
    #[must_use]
    pub fn full(&self) -> Output {
        Output {
            classes: self
                .classes
                .iter()
                .map(|(id, kept)| (*id, kept.class.clone()))
                .collect(),
            source_lists: self
                .lists
                .iter()
                .map(|(id, (_, list))| (*id, list.clone()))
                .collect(),
            memberships: self
                .class_of
                .iter()
                .map(|(node, class)| Membership {
                    node: *node,
                    class: *class,
                })
                .collect(),
            ..Output::default()
        }
    }

    /// Returns what differs from the last time this was asked; empty when nothing does.
    pub fn take_changes(&mut self) -> Output {
        std::mem::take(&mut self.changes)
    }
}

/// Returns what feeds the sources of a rule for a class.
fn list_key(rule: &Rule, key: &ClassKey) -> ListKey {
    let user = key.user.filter(|_| rule.destination == Selector::Own);
    ListKey {
        sources: rule.sources.clone(),
        user,
    }
}

fn inventory<'i>(
    nodes: &'i BTreeMap<u64, Node>,
    users: &'i BTreeMap<u64, User>,
) -> impl Iterator<Item = (&'i Node, Option<&'i User>)> {
    nodes
        .values()
        .map(|node| (node, users.get(&node.user).filter(|_| node.tags.is_empty())))
}
