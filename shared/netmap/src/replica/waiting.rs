//! Nodes whose newest facts may not be shown yet, and what they wait for.

use std::collections::BTreeMap;

use bowline_ids::NodeId;
use bowline_proto::{key_registry::v1::Node, policy::v1::Membership};

use super::{RegistryNode, Replica};
use crate::view::ShownNode;

/// What has to come before the newest facts of a node are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AwaitedPart {
    /// A class that the policy compiler computed from them.
    Class,
    /// The user that the node goes with, from identity.
    User,
}

/// A node whose newest facts are not shown yet: it is not shown at all, or as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingNode {
    /// The registry revision of the facts that wait.
    pub changed_at: u64,
    /// What they wait for.
    pub waits_for: AwaitedPart,
}

impl Replica {
    /// Returns the nodes whose newest facts are not shown yet.
    #[must_use]
    pub fn list_waiting_nodes(&self) -> BTreeMap<NodeId, WaitingNode> {
        if self.is_deleted() {
            return BTreeMap::new();
        }
        let waiting = self.waiting.iter();
        let waiting = waiting.filter_map(|id| {
            let known = self.registry_nodes.get(id)?;
            let waits_for = if self.current_membership(*id, known).is_none() {
                AwaitedPart::Class
            } else if self.lacks_user(&known.node, self.view.nodes.get(id)) {
                AwaitedPart::User
            } else {
                return None;
            };
            let changed_at = known.judged_at;
            let waiting = WaitingNode {
                changed_at,
                waits_for,
            };
            Some((*id, waiting))
        });
        waiting.collect()
    }

    /// Returns the class of a node, if it was computed from the newest facts of it.
    pub(super) fn current_membership(
        &self,
        id: NodeId,
        known: &RegistryNode,
    ) -> Option<&Membership> {
        let is_current = self
            .stamp
            .is_some_and(|stamp| stamp.registry_revision >= known.judged_at);
        self.memberships.get(&id).filter(|_| is_current)
    }

    /// Says whether a node that is new here goes with a user of whom identity's log has to tell first.
    pub(super) fn lacks_user(&self, node: &Node, before: Option<&ShownNode>) -> bool {
        let is_identity_behind = self
            .stamp
            .is_some_and(|stamp| stamp.identity_revision > self.identity_revision);
        node.goes_with_user()
            && before.is_none()
            && is_identity_behind
            && self.user_of(node).is_none()
    }
}
