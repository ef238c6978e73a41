//! Nodes that differ as peers, put together where a viewer finds out for all at once whether it is told of them.
//!
//! An example: a new rule names ten users of a thousand. Their devices move to another class, which everybody sees just as
//! the one before. A viewer compares the two classes, once, and nothing of the devices.

use std::collections::{BTreeMap, BTreeSet};

use bowline_control_wire::PeerChange;
use bowline_ids::{NodeId, UserId};

use crate::{
    message::{PeerDifference, compare_shared_facts},
    view::{ClassId, SettingsId, ShownNode},
};

/// What the policy says of a node: who sees it depends on nothing else but its user, its routes, and whether it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerPlace {
    pub(crate) class: ClassId,
    pub(crate) settings: SettingsId,
}

/// How the nodes of a group moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerMove {
    pub(crate) before: PeerPlace,
    pub(crate) now: PeerPlace,
}

/// The nodes of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerGroup {
    /// What everybody who sees a node is told of it, if anything.
    patches: BTreeMap<NodeId, Option<PeerChange>>,
    /// The nodes of each user.
    by_user: BTreeMap<UserId, BTreeSet<NodeId>>,
}

impl PeerGroup {
    fn add(&mut self, now: &ShownNode, patch: Option<PeerChange>) {
        self.patches.insert(now.id, patch);
        if let Some(user) = now.user() {
            self.by_user.entry(user).or_default().insert(now.id);
        }
    }

    /// Returns all nodes, ascending.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.patches.keys().copied()
    }

    /// Returns what is told of all nodes but one.
    pub(crate) fn patches_without(&self, id: NodeId) -> impl Iterator<Item = PeerChange> {
        let others = self.patches.iter().filter(move |(other, _)| **other != id);
        others.filter_map(|(_, patch)| patch.clone())
    }

    /// Returns what is told of a user's nodes but one.
    pub(crate) fn patches_of_user(
        &self,
        user: UserId,
        but: NodeId,
    ) -> impl Iterator<Item = PeerChange> {
        let nodes = self.by_user.get(&user).into_iter().flatten();
        let others = nodes.filter(move |other| **other != but);
        others.filter_map(|other| self.patches.get(other).cloned().flatten())
    }
}

/// The nodes that may look otherwise as peers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangedPeers {
    /// Nodes without routes, offered before and now, of which a patch tells everything but what the policy says.
    groups: BTreeMap<PeerMove, PeerGroup>,
    /// All others: each viewer compares them one by one.
    alone: BTreeSet<NodeId>,
}

impl ChangedPeers {
    /// Adds a node, as it was and as it is.
    pub(crate) fn add(&mut self, id: NodeId, was: Option<&ShownNode>, now: Option<&ShownNode>) {
        let both = was.zip(now).filter(|(was, now)| can_be_grouped(was, now));
        let patch = both.and_then(|(was, now)| match compare_shared_facts(was, now) {
            PeerDifference::Same => Some((was, now, None)),
            PeerDifference::Fields(change) => Some((was, now, Some(*change))),
            PeerDifference::Whole => None,
        });
        let Some((was, now, patch)) = patch else {
            self.alone.insert(id);
            return;
        };
        let moved = PeerMove {
            before: PeerPlace::of(was),
            now: PeerPlace::of(now),
        };
        self.groups.entry(moved).or_default().add(now, patch);
    }

    /// Returns the groups.
    pub(crate) const fn groups(&self) -> &BTreeMap<PeerMove, PeerGroup> {
        &self.groups
    }

    /// Returns the nodes that are in no group.
    pub(crate) const fn alone(&self) -> &BTreeSet<NodeId> {
        &self.alone
    }

    /// Returns all of them, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = NodeId> {
        let grouped = self.groups.values().flat_map(PeerGroup::nodes);
        self.alone.iter().copied().chain(grouped)
    }
}

impl PeerPlace {
    fn of(shown: &ShownNode) -> Self {
        Self {
            class: shown.class,
            settings: shown.settings,
        }
    }
}

/// Says whether who sees a node depends on its place and its user alone, before and now. What routes lead through it depends on
/// the viewer, too.
fn can_be_grouped(was: &ShownNode, now: &ShownNode) -> bool {
    let is_plain = |shown: &ShownNode| shown.offered && shown.usable_routes().next().is_none();
    is_plain(was) && is_plain(now)
}

#[cfg(test)]
mod tests;
