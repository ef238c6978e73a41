//! The gateway's copy of what the owners hold of one tailnet, and the rule of what may be shown together.
//!
//! Three logs arrive independently: identity, registry, and the compiled policy with a stamp of what it was
//! computed from. A node's owner, tags, addresses and routes are shown only together with a class computed from
//! them; until then the old facts and the old class stay together, and a new node is not shown. Removals,
//! suspensions and key changes need no compiler and apply at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_proto::{
    identity::v1::{IdentityChange, IdentitySnapshot, User, identity_change},
    key_registry::v1::{
        ClientReport, Node, RegistryChange, RegistrySnapshot, SoftState, registry_change,
    },
    policy::v1::{CompiledUpdate, Membership, Stamp},
};

use super::{
    change_set::ChangeSet,
    soft_state::{look_alike, overlay, told, told_report},
    view::{Shown, Sources, View},
};

/// One tailnet as the logs have it so far, and what of it is published.
#[derive(Debug, Default)]
pub struct Replica {
    view: View,
    changes: ChangeSet,
    stamp: Option<Stamp>,
    known: BTreeMap<u64, Known>,
    memberships: BTreeMap<u64, Membership>,
    reports: BTreeMap<u64, ClientReport>,
    /// The nodes of each user, as the registry has it.
    owned: BTreeMap<u64, BTreeSet<u64>>,
    /// Nodes whose newest facts wait for a class computed from them.
    waiting: BTreeSet<u64>,
    /// Classes and settings that the policy has no more, while nodes that wait are shown with them.
    outdated: (BTreeSet<u64>, BTreeSet<u64>),
    /// The newest session of each node whose presence was heard of since it was asked for last.
    presences: BTreeMap<u64, u64>,
    life: Life,
    identity_revision: u64,
    registry_revision: u64,
}

/// What identity says of the tailnet itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    /// Nothing yet.
    #[default]
    Unheard,
    /// It is there.
    Lives,
    /// It was there.
    Deleted,
}

/// A node as the registry has it.
#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    soft: Arc<SoftState>,
    /// The registry revision of its last change that policy judges.
    judged: u64,
}

impl Replica {
    /// Returns a replica that has heard nothing yet.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let mut replica = Self::default();
        replica.view.sources = sources;
        replica
    }

    /// Applies an identity snapshot.
    pub fn identity_snapshot(&mut self, chunks: Vec<IdentitySnapshot>) {
        let mut users = BTreeMap::new();
        let mut found = None;
        for chunk in chunks {
            self.identity_revision = chunk.revision;
            found = chunk.tailnet.or(found);
            users.extend(chunk.users.into_iter().map(|user| (user.id, user)));
        }
        match found {
            Some(tailnet) => self.identity_change(identity_change::Change::Tailnet(tailnet)),
            // A log without a tailnet is that of a deleted one.
            None if self.identity_revision > 0 => self.set_life(Life::Deleted),
            None => {}
        }
        let gone: Vec<_> = self
            .view
            .users
            .keys()
            .copied()
            .filter(|id| !users.contains_key(id))
            .collect();
        for id in gone {
            self.identity_change(identity_change::Change::UserDeleted(id));
        }
        for user in users.into_values() {
            self.identity_change(identity_change::Change::User(user));
        }
    }

    /// Applies entries of the identity log, which lead to `revision`.
    pub fn identity_changes(&mut self, entries: Vec<IdentityChange>, revision: u64) {
        self.identity_revision = revision;
        for change in entries.into_iter().filter_map(|entry| entry.change) {
            self.identity_change(change);
        }
    }

    fn identity_change(&mut self, change: identity_change::Change) {
        match change {
            identity_change::Change::Tailnet(tailnet) => {
                self.set_life(Life::Lives);
                if *self.view.tailnet != tailnet {
                    self.view.tailnet = Arc::new(tailnet);
                    self.changes.tailnet = true;
                }
            }
            identity_change::Change::User(user) => self.put_user(user),
            identity_change::Change::UserDeleted(id) => {
                if self.view.users.remove(&id).is_some() {
                    self.changes.users.insert(id);
                    self.show_nodes_of(id);
                }
            }
            identity_change::Change::TailnetDeleted(_) => self.set_life(Life::Deleted),
        }
    }

    fn set_life(&mut self, life: Life) {
        let before = std::mem::replace(&mut self.life, life);
        if before != life && [before, life].contains(&Life::Deleted) {
            for id in self.known.keys().copied().collect::<Vec<_>>() {
                self.show(id);
            }
        }
    }

    fn put_user(&mut self, user: User) {
        let id = user.id;
        let before = self.view.users.insert(id, Arc::new(user));
        let now = &self.view.users[&id];
        let looks = |user: &User| {
            let (login, name) = (user.login_name.clone(), user.display_name.clone());
            (login, name, user.profile_pic_url.clone())
        };
        if before.as_deref().map(looks) != Some(looks(now)) {
            self.changes.users.insert(id);
        }
        if before.is_none_or(|before| before.suspended != now.suspended) {
            self.show_nodes_of(id);
        }
    }

    fn show_nodes_of(&mut self, user: u64) {
        let owned = self.owned.get(&user).into_iter().flatten().copied();
        // A node that waits may be shown as that of its user before.
        let nodes: BTreeSet<_> = owned.chain(self.view.devices(Some(user))).collect();
        for id in nodes {
            self.show(id);
        }
    }

    /// Applies a registry snapshot.
    pub fn registry_snapshot(&mut self, chunks: Vec<RegistrySnapshot>) {
        let mut present = BTreeMap::new();
        for chunk in chunks {
            self.registry_revision = chunk.revision;
            for (node, soft) in chunk.nodes.into_iter().zip(chunk.soft) {
                present.insert(node.id, (node, soft));
            }
        }
        let gone: Vec<_> = self
            .known
            .keys()
            .copied()
            .filter(|id| !present.contains_key(id))
            .collect();
        for id in gone {
            self.remove_node(id);
        }
        let revision = self.registry_revision;
        for (id, (node, soft)) in present {
            self.put_node(node, revision);
            self.put_soft(id, soft);
        }
    }

    /// Applies entries of the registry log after revision `from`.
    pub fn registry_changes(&mut self, entries: Vec<RegistryChange>, from: u64) {
        for (revision, entry) in (from + 1..).zip(entries) {
            self.registry_revision = revision;
            match entry.change {
                Some(registry_change::Change::Node(node)) => self.put_node(node, revision),
                Some(registry_change::Change::NodeDeleted(id)) => self.remove_node(id),
                None => {}
            }
        }
    }

    /// Applies soft states.
    pub fn soft_states(&mut self, states: Vec<SoftState>) {
        for state in states {
            self.put_soft(state.node_id, state);
        }
    }

    /// Shows what a client of this gateway reports before the registry has it.
    pub fn report(&mut self, node: u64, report: ClientReport) {
        let mut report = told_report(report);
        let before = self.reports.remove(&node);
        report.host = report.host.or_else(|| before?.host);
        self.reports.insert(node, report);
        self.show(node);
    }

    /// Forgets a report the registry has taken, unless the client has sent a newer one.
    pub fn report_taken(&mut self, node: u64, sequence: u64) {
        if self
            .reports
            .get(&node)
            .is_some_and(|report| report.sequence <= sequence)
            && let Some(report) = self.reports.remove(&node)
            && let Some(known) = self.known.get_mut(&node)
        {
            // The registry's own row may come a moment later: it says the same.
            known.soft = Arc::new(overlay(&known.soft, &report));
        }
    }

    fn put_node(&mut self, node: Node, revision: u64) {
        let id = node.id;
        let owner = self.known.get(&id).map(|known| known.node.user_id);
        if owner != Some(node.user_id) {
            self.disown(id);
            self.owned.entry(node.user_id).or_default().insert(id);
        }
        match self.known.get_mut(&id) {
            Some(known) => {
                if judged_differently(&known.node, &node) {
                    known.judged = revision;
                }
                known.node = Arc::new(node);
            }
            None => {
                let soft = Arc::new(SoftState {
                    node_id: id,
                    ..SoftState::default()
                });
                let known = Known {
                    node: Arc::new(node),
                    soft,
                    judged: revision,
                };
                self.known.insert(id, known);
            }
        }
        self.show(id);
    }

    fn put_soft(&mut self, id: u64, soft: SoftState) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        if soft.soft_revision >= known.soft.soft_revision {
            let soft = told(soft);
            if *known.soft != soft {
                known.soft = Arc::new(soft);
                self.show(id);
            }
        }
    }

    fn disown(&mut self, id: u64) {
        let Some(user) = self.known.get(&id).map(|known| known.node.user_id) else {
            return;
        };
        if let Some(nodes) = self.owned.get_mut(&user) {
            nodes.remove(&id);
            if nodes.is_empty() {
                self.owned.remove(&user);
            }
        }
    }

    fn remove_node(&mut self, id: u64) {
        self.disown(id);
        self.known.remove(&id);
        self.reports.remove(&id);
        self.memberships.remove(&id);
        self.waiting.remove(&id);
        self.set_shown(id, None);
    }

    /// Notes that every client is to be told of the relays again.
    pub fn relays_changed(&mut self) {
        self.changes.tailnet = true;
    }

    /// Applies one whole compiled update in one step.
    pub fn compiled(&mut self, parts: Vec<CompiledUpdate>) {
        let mut update = CompiledUpdate::default();
        for part in parts {
            self.stamp = part.stamp.or(self.stamp);
            update.full |= part.full;
            update.common_filter = part.common_filter.or(update.common_filter);
            update.derp_map = part.derp_map.or(update.derp_map);
            update.classes.extend(part.classes);
            update.removed_classes.extend(part.removed_classes);
            update.settings.extend(part.settings);
            update.removed_settings.extend(part.removed_settings);
            update.source_lists.extend(part.source_lists);
            update.routes.extend(part.routes);
            update.removed_routes.extend(part.removed_routes);
            update.vias.extend(part.vias);
            update.removed_vias.extend(part.removed_vias);
            update.memberships.extend(part.memberships);
            update.removed_nodes.extend(part.removed_nodes);
        }
        let memberships = std::mem::take(&mut update.memberships);
        let mut removed = std::mem::take(&mut update.removed_nodes);
        if update.full {
            let members = memberships.iter().map(|member| member.node_id);
            removed.extend(missing(self.memberships.keys(), members));
        }
        let classes: Vec<_> = update.classes.iter().map(|class| class.id).collect();
        let settings: Vec<_> = update.settings.iter().map(|set| set.id).collect();
        let removed_now = self.view.compiled.apply(update, &mut self.changes);
        self.outdated.0.extend(removed_now.classes);
        self.outdated.0.retain(|id| !classes.contains(id));
        self.outdated.1.extend(removed_now.settings);
        self.outdated.1.retain(|id| !settings.contains(id));
        // The stamp may have reached nodes whose class stays the same: their new facts may be shown now.
        let mut touched = std::mem::take(&mut self.waiting);
        for id in removed {
            self.memberships.remove(&id);
            touched.insert(id);
        }
        for member in memberships {
            touched.insert(member.node_id);
            self.memberships.insert(member.node_id, member);
        }
        for id in touched {
            self.show(id);
        }
    }

    /// Takes out the classes and settings that the policy has no more, but for those some node is shown with.
    fn sweep(&mut self) {
        let (classes, settings) = &mut self.outdated;
        let Self { view, changes, .. } = self;
        classes.retain(|id| {
            let is_used = view.members.contains_key(id);
            if !is_used {
                view.compiled.remove_class(*id, changes);
            }
            is_used
        });
        settings.retain(|id| {
            let is_used = view.set.contains_key(id);
            if !is_used {
                view.compiled.remove_settings(*id, changes);
            }
            is_used
        });
    }

    /// Brings what is shown of one node up to what may be shown of it.
    fn show(&mut self, id: u64) {
        let Some(known) = self.known.get(&id) else {
            return;
        };
        if self.life == Life::Deleted {
            return self.set_shown(id, None);
        }
        let judged = self
            .stamp
            .is_some_and(|stamp| stamp.registry_revision >= known.judged);
        let member = self.memberships.get(&id);
        let before = self.view.nodes.get(&id);
        let (node, class, settings) = match (member.filter(|_| judged), before) {
            (Some(member), _) => (Arc::clone(&known.node), member.class_id, member.settings_id),
            (None, before) => {
                self.waiting.insert(id);
                let Some(before) = before else { return };
                (
                    at_once(&before.node, &known.node),
                    before.class,
                    before.settings,
                )
            }
        };
        let owner_allows = !node.tags.is_empty()
            || self
                .view
                .users
                .get(&node.user_id)
                .is_some_and(|user| !user.suspended);
        let offered = node.approved && !node.expired && owner_allows;
        let soft = match self.reports.get(&id) {
            Some(report) => Arc::new(overlay(&known.soft, report)),
            None => Arc::clone(&known.soft),
        };
        self.set_shown(
            id,
            Some(Shown {
                node,
                soft,
                class,
                settings,
                offered,
            }),
        );
    }

    fn set_shown(&mut self, id: u64, now: Option<Shown>) {
        let before = self.view.nodes.get(&id);
        if before == now.as_ref() {
            return;
        }
        let presence = |shown: Option<&Shown>| shown.and_then(|shown| shown.soft.presence.clone());
        let newest = presence(now.as_ref());
        if newest != presence(before)
            && let Some(newest) = newest
        {
            self.presences.insert(id, newest.epoch);
        }
        let is_noted = match (before, &now) {
            (Some(before), Some(now)) => !look_alike(before, now),
            _ => true,
        };
        let before = self.view.put(id, now);
        if is_noted {
            self.changes.nodes.entry(id).or_insert(before);
        }
    }

    /// Returns the view as it is now and what differs from the one published before, or `None` when nothing does.
    pub fn publish(&mut self) -> Option<(Arc<View>, Arc<ChangeSet>)> {
        self.sweep();
        if self.changes.is_empty() {
            return None;
        }
        self.view.generation += 1;
        let changes = std::mem::take(&mut self.changes);
        Some((Arc::new(self.view.clone()), Arc::new(changes)))
    }

    /// Returns the newest session of each node whose presence was heard of since the last call.
    pub fn take_presences(&mut self) -> BTreeMap<u64, u64> {
        std::mem::take(&mut self.presences)
    }

    /// Says whether all three owners have been heard, and the tailnet is there: otherwise nobody gets a netmap.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stamp.is_some() && self.life == Life::Lives
    }

    /// Says whether the tailnet was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.life == Life::Deleted
    }

    /// Returns the registry revision applied.
    #[must_use]
    pub fn registry_revision(&self) -> u64 {
        self.registry_revision
    }

    /// Returns the identity revision applied.
    #[must_use]
    pub fn identity_revision(&self) -> u64 {
        self.identity_revision
    }
}

/// Says whether policy may judge the two differently.
fn judged_differently(before: &Node, now: &Node) -> bool {
    (before.user_id, &before.tags, &before.ipv4, &before.ipv6)
        != (now.user_id, &now.tags, &now.ipv4, &now.ipv6)
        || before.advertised_routes != now.advertised_routes
        || before.approved_routes != now.approved_routes
        || (&before.os, &before.client_version) != (&now.os, &now.client_version)
}

/// What policy judges as `shown` has it, everything else as it is now.
fn at_once(shown: &Arc<Node>, now: &Node) -> Arc<Node> {
    let node = Node {
        user_id: shown.user_id,
        tags: shown.tags.clone(),
        ipv4: shown.ipv4.clone(),
        ipv6: shown.ipv6.clone(),
        advertised_routes: shown.advertised_routes.clone(),
        approved_routes: shown.approved_routes.clone(),
        os: shown.os.clone(),
        client_version: shown.client_version.clone(),
        ..now.clone()
    };
    if node == **shown {
        Arc::clone(shown)
    } else {
        Arc::new(node)
    }
}

fn missing<'a>(
    known: impl Iterator<Item = &'a u64>,
    present: impl Iterator<Item = u64>,
) -> Vec<u64> {
    let present: BTreeSet<_> = present.collect();
    known.copied().filter(|id| !present.contains(id)).collect()
}

#[cfg(test)]
mod tests;
