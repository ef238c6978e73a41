//! The gateway's copy of what the owners hold of one tailnet, and the rule of what may be shown together.
//!
//! Three logs arrive independently: identity, registry, and the compiled policy with a stamp of what it was
//! computed from. A node's owner, tags, addresses and routes are shown only together with a class computed from
//! them; until then the old facts and the old class stay together, and a new node is not shown. Removals,
//! suspensions and key changes need no compiler and apply at once.

mod appearance;
mod identity;
mod policy;
mod registry;
mod soft_state;
mod unmatched;
mod waiting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_ids::{NodeId, UserId};
use bowline_proto::{
    identity::v1::User,
    key_registry::v1::{Node, SoftState},
    policy::v1::{Membership, Stamp},
};

pub use waiting::{AwaitedPart, WaitingNode};

use registry::PendingReport;
use unmatched::UnmatchedSoftStates;

use appearance::appear_equal;
use soft_state::overlay_report;

use crate::{
    change_set::ChangeSet,
    view::{ClassId, EncodedPeer, FilterSources, SettingsId, ShownNode, View},
};

/// One tailnet as the logs have it so far, and what of it is published.
#[derive(Debug, Default)]
pub struct Replica {
    view: View,
    changes: ChangeSet,
    stamp: Option<Stamp>,
    registry_nodes: BTreeMap<NodeId, RegistryNode>,
    memberships: BTreeMap<NodeId, Membership>,
    reports: BTreeMap<NodeId, PendingReport>,
    unmatched: UnmatchedSoftStates,
    /// The nodes of each user, as the registry has it.
    nodes_of_user: BTreeMap<u64, BTreeSet<NodeId>>,
    /// Nodes whose newest facts wait for a class computed from them.
    waiting: BTreeSet<NodeId>,
    outdated: OutdatedDefinitions,
    /// The newest session of each node whose presence was heard of since it was asked for last.
    presences: BTreeMap<NodeId, u64>,
    state: TailnetState,
    identity_revision: u64,
    registry_revision: u64,
}

/// What identity says of the tailnet itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TailnetState {
    /// Nothing yet.
    #[default]
    Unheard,
    /// It is there.
    Lives,
    /// It was there.
    Deleted,
}

/// Classes and settings that the policy has no more, and that nodes are still shown with.
#[derive(Debug, Default)]
struct OutdatedDefinitions {
    classes: BTreeSet<ClassId>,
    settings: BTreeSet<SettingsId>,
}

/// A node as the registry has it.
#[derive(Debug)]
struct RegistryNode {
    node: Arc<Node>,
    soft: Arc<SoftState>,
    /// The registry revision of its last change of what policy judges.
    judged_at: u64,
}

impl Replica {
    /// Returns a replica that has heard nothing yet.
    #[must_use]
    pub fn new(sources: FilterSources) -> Self {
        let mut replica = Self::default();
        replica.view.sources = sources;
        replica
    }

    /// Notes that the relays are others: every client is told everything.
    pub fn note_relays_changed(&mut self) {
        self.changes.everything = true;
    }

    /// Brings what is shown of one node up to what may be shown of it.
    fn update_shown(&mut self, id: NodeId) {
        let Some(known) = self.registry_nodes.get(&id) else {
            return;
        };
        if self.state == TailnetState::Deleted {
            return self.set_shown(id, None);
        }
        let before = self.view.nodes.get(&id);
        let (node, class, settings) = match self.current_membership(id, known) {
            Some(member) => (
                Arc::clone(&known.node),
                ClassId(member.class_id),
                SettingsId(member.settings_id),
            ),
            None => {
                self.waiting.insert(id);
                let Some(before) = before else { return };
                (
                    with_immediate_changes(&before.node, &known.node),
                    before.class,
                    before.settings,
                )
            }
        };
        if self.lacks_user(&node, before) {
            // Who it belongs to comes in a moment.
            self.waiting.insert(id);
            return;
        }
        // Whose it is now counts as well as whose it is shown to be: a suspension waits for no class.
        let offered = self.may_take_part(&node) && self.may_take_part(&known.node);
        let soft = match self.reports.get(&id) {
            Some(reported) => Arc::new(overlay_report(&known.soft, &reported.report)),
            None => Arc::clone(&known.soft),
        };
        let shown = ShownNode {
            id,
            node,
            soft,
            class,
            settings,
            offered,
            encoded: EncodedPeer::default(),
        };
        self.set_shown(id, Some(&shown));
    }

    fn may_take_part(&self, node: &Node) -> bool {
        let user = self.user_of(node);
        node.may_take_part(user.is_none_or(|user| user.suspended))
    }

    fn user_of(&self, node: &Node) -> Option<&Arc<User>> {
        let id = UserId::try_from(node.user_id).ok()?;
        self.view.users.get(&id)
    }

    fn set_shown(&mut self, id: NodeId, now: Option<&ShownNode>) {
        let before = self.view.nodes.get(&id);
        if before == now {
            return;
        }
        let presence =
            |shown: Option<&ShownNode>| shown.and_then(|shown| shown.soft.presence.clone());
        let newest = presence(now);
        if newest != presence(before)
            && let Some(newest) = newest
        {
            self.presences.insert(id, newest.epoch);
        }
        let is_noted = match (before, now) {
            (Some(before), Some(now)) => !appear_equal(before, now),
            _ => true,
        };
        let before = self.view.put_node(id, now);
        if is_noted {
            self.changes.nodes.entry(id).or_insert(before);
        }
    }

    /// Returns the view as it is now and what differs from the one published before, or `None` when nothing does.
    pub fn publish(&mut self) -> Option<(Arc<View>, Arc<ChangeSet>)> {
        self.remove_unused_definitions();
        if self.changes.is_empty() {
            return None;
        }
        self.view.generation = self.view.generation.next();
        let changes = std::mem::take(&mut self.changes);
        Some((Arc::new(self.view.clone()), Arc::new(changes)))
    }

    /// Returns the newest session of each node whose presence was heard of since the last call.
    pub fn take_presences(&mut self) -> BTreeMap<NodeId, u64> {
        std::mem::take(&mut self.presences)
    }

    /// Says whether all three owners have been heard, and the tailnet is there: otherwise nobody gets a netmap.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.stamp.is_some() && self.state == TailnetState::Lives
    }

    /// Says whether the tailnet was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.state == TailnetState::Deleted
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

/// Returns the node as it may be shown before its class is computed: what policy judges as it is shown already, all else
/// as it is now.
fn with_immediate_changes(shown: &Arc<Node>, now: &Node) -> Arc<Node> {
    let node = now.with_judged_facts_of(shown);
    if node == **shown {
        Arc::clone(shown)
    } else {
        Arc::new(node)
    }
}

#[cfg(test)]
mod tests;
