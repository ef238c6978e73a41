//! Puts nodes into classes, profiles and lists, and counts the nodes of each.
//!
//! Example: a node loses its tag `tag:web`. Its class key differs, so it is counted into the class without that selector
//! (compiled if it is new), its addresses are removed from the lists that `tag:web` feeds, and it is counted out of its
//! former class, which is dropped when it was the last node there. It is counted in before it is counted out, so that what
//! both have is never dropped in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{
        class::ClassKey,
        output::{ListId, Membership, NodeProfile},
        profile::ProfileKey,
    },
    Compiler, KeyedProfile, NodePlacement, Shared,
};

impl Compiler {
    /// Puts a node where it belongs now.
    pub(super) fn place_node(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let user = self.owner_of(node);
        let owner = user.map_or(0, |user| user.id);
        let class_key = ClassKey::new(&self.plan, node, user);
        let profile_key = self.profile_plan.profile_key(node, user);
        let access_lists = &self.plan.lists;
        let mut lists = access_lists.lists_of_node(class_key.selectors(), owner);
        let ssh_lists = self.profile_plan.lists_of_node(node, &profile_key, owner);
        lists.extend(ssh_lists);
        let addresses = node.addresses();
        let placement = NodePlacement {
            membership: Membership {
                class: class_key.id(&self.plan),
                profile: profile_key.id(&self.profile_plan),
            },
            lists,
            addresses: addresses
                .map(|address| Arc::from(address.to_string()))
                .collect(),
        };
        let before = self.placements.remove(&id);
        if before.as_ref() == Some(&placement) {
            self.placements.insert(id, placement);
            return;
        }
        self.count_into_class(placement.membership.class, &class_key);
        self.count_into_user_lists(&placement.lists);
        self.count_into_profile(placement.membership.profile, profile_key);
        self.add_to_lists(&placement, before.as_ref());
        let former_membership = before.as_ref().map(|before| before.membership);
        if former_membership != Some(placement.membership) {
            self.changes.nodes.insert(id, Some(placement.membership));
        }
        if let Some(before) = before {
            self.count_out(&before, Some(&placement));
        }
        self.placements.insert(id, placement);
    }

    /// Counts a node into a class, and compiles the class when it is new.
    fn count_into_class(&mut self, id: u64, key: &ClassKey) {
        let class = self.classes.entry(id).or_insert_with(|| {
            let value = Arc::new(key.compile_class(&self.plan));
            self.changes.classes.insert(id, Some(Arc::clone(&value)));
            Shared { nodes: 0, value }
        });
        class.nodes += 1;
    }

    /// Counts a node into those of its lists that are of one user.
    fn count_into_user_lists(&mut self, lists: &BTreeSet<ListId>) {
        for list in lists.iter().filter(|list| list.user != 0) {
            let devices = self.user_lists.entry(*list).or_default();
            *devices += 1;
            if *devices == 1 {
                self.touched_lists.insert(list.id);
            }
        }
    }

    /// Counts a node into a profile. A new one is compiled later, once for all changes.
    fn count_into_profile(&mut self, id: u64, key: ProfileKey) {
        let profile = self.profiles.entry(id).or_insert_with(|| {
            for list in self.profile_plan.lists_of_named_users(&key) {
                let profiles = self.profiles_by_named_list.entry(list).or_default();
                profiles.insert(id);
            }
            if let Some(user) = self.profile_plan.user_named_by(&key) {
                self.profiles_by_user.entry(user).or_default().insert(id);
            }
            self.outdated_profiles.insert(id);
            let value = Arc::new(NodeProfile::default());
            self.changes.profiles.insert(id, Some(Arc::clone(&value)));
            let shared = Shared { nodes: 0, value };
            KeyedProfile { key, shared }
        });
        profile.shared.nodes += 1;
    }

    /// Adds a node's addresses to its lists, where they are not already.
    fn add_to_lists(&mut self, placement: &NodePlacement, before: Option<&NodePlacement>) {
        let before = before.filter(|before| before.addresses == placement.addresses);
        for list in &placement.lists {
            if before.is_some_and(|before| before.lists.contains(list)) {
                continue;
            }
            for address in &placement.addresses {
                if !self.plan.lists.has_literal(*list, address) {
                    self.changes.add_element(*list, address);
                }
            }
        }
    }

    /// Counts a node out of where it was, and drops what no node has any more; `now` is where it is instead.
    pub(super) fn count_out(&mut self, before: &NodePlacement, now: Option<&NodePlacement>) {
        for list in before.lists.iter().filter(|list| list.user != 0) {
            if let Some(devices) = self.user_lists.get_mut(list) {
                *devices -= 1;
                if *devices == 0 {
                    self.user_lists.remove(list);
                    self.touched_lists.insert(list.id);
                }
            }
        }
        for list in &before.lists {
            let stays = now.filter(|now| now.lists.contains(list));
            for address in &before.addresses {
                let is_kept = stays.is_some_and(|now| now.addresses.contains(address));
                if !is_kept && !self.plan.lists.has_literal(*list, address) {
                    self.changes.remove_element(*list, address);
                }
            }
        }
        let Membership { class, profile } = before.membership;
        if let Some(shared) = self.classes.get_mut(&class) {
            shared.nodes -= 1;
            if shared.nodes == 0 {
                self.classes.remove(&class);
                self.changes.classes.insert(class, None);
            }
        }
        if let Some(KeyedProfile { shared, .. }) = self.profiles.get_mut(&profile) {
            shared.nodes -= 1;
            if shared.nodes == 0 {
                self.drop_profile(profile);
            }
        }
    }

    fn drop_profile(&mut self, id: u64) {
        let Some(KeyedProfile { key, .. }) = self.profiles.remove(&id) else {
            return;
        };
        for list in self.profile_plan.lists_of_named_users(&key) {
            remove_from_index(&mut self.profiles_by_named_list, list, id);
        }
        if let Some(user) = self.profile_plan.user_named_by(&key) {
            remove_from_index(&mut self.profiles_by_user, user, id);
        }
        self.outdated_profiles.remove(&id);
        self.changes.profiles.insert(id, None);
    }
}

fn remove_from_index(index: &mut BTreeMap<u64, BTreeSet<u64>>, key: u64, id: u64) {
    if let Some(ids) = index.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(&key);
        }
    }
}
