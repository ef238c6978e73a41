//! Puts nodes into classes, settings and lists, and counts who is in each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{
        class::ClassKey,
        output::{Membership, Settings},
        settings::SettingsKey,
    },
    Compiler, Placed, Shared,
};

impl Compiler {
    /// Puts a node into its class, its settings and its lists.
    pub(super) fn place(&mut self, id: u64) {
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
    pub(super) fn enter(
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
                self.touched.insert(list.id);
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
    pub(super) fn enter_settings(&mut self, id: u64, key: SettingsKey) {
        let (_, kept) = self.settings.entry(id).or_insert_with(|| {
            for list in self.settings_plan.named_by(&key) {
                self.naming.entry(list).or_default().insert(id);
            }
            if let Some(user) = self.settings_plan.named_self(&key) {
                self.own_settings.entry(user).or_default().insert(id);
            }
            self.outdated.insert(id);
            let what = Arc::new(Settings::default());
            self.changes.settings.insert(id, Some(Arc::clone(&what)));
            (key, Shared { nodes: 0, what })
        });
        kept.nodes += 1;
    }

    /// Counts a node out, dropping what nobody has any more; `now` is where it is instead.
    pub(super) fn leave(&mut self, before: &Placed, now: Option<&Placed>) {
        for list in before.lists.iter().filter(|list| list.user != 0) {
            if let Some(devices) = self.user_lists.get_mut(list) {
                *devices -= 1;
                if *devices == 0 {
                    self.user_lists.remove(list);
                    self.touched.insert(list.id);
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

    pub(super) fn drop_settings(&mut self, id: u64) {
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
}

fn drop_from(table: &mut BTreeMap<u64, BTreeSet<u64>>, key: u64, id: u64) {
    if let Some(ids) = table.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            table.remove(&key);
        }
    }
}
