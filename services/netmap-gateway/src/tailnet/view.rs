//! What is true of one tailnet, at one moment: an immutable snapshot, cheap to clone.

use std::sync::Arc;

use bowline_proto::{
    identity::v1::{Tailnet, User},
    key_registry::v1::{Node, SoftState},
    policy::v1::{Class, SourceList, VisibleClass},
};
use imbl::{OrdMap, OrdSet};

/// A node as it may be shown: its facts and its class belong together (design: one output, one step).
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Hard state.
    pub node: Arc<Node>,
    /// Soft state; default values for a node that never reported.
    pub soft: Arc<SoftState>,
    /// The visibility class the policy puts it in.
    pub class: u64,
    /// Whether peers may be offered its key: approved, not expired, its user not suspended.
    pub offered: bool,
}

/// One tailnet at one generation.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Counts the published views of this process; means nothing to another.
    pub generation: u64,
    /// The tailnet and its settings.
    pub tailnet: Arc<Tailnet>,
    /// Users by number.
    pub users: OrdMap<u64, Arc<User>>,
    /// Nodes by number; one the policy has not judged yet is not here.
    pub nodes: OrdMap<u64, Shown>,
    /// The node of each node key.
    pub keys: OrdMap<Vec<u8>, u64>,
    /// The nodes of each class.
    pub members: OrdMap<u64, OrdSet<u64>>,
    /// Class definitions by class number.
    pub classes: OrdMap<u64, Arc<Class>>,
    /// Source lists of filter rules by their number.
    pub source_lists: OrdMap<u64, Arc<SourceList>>,
}

impl View {
    /// Returns the nodes that node `viewer` of class `class` sees, class by class, each in ascending order.
    pub fn peers(&self, viewer: u64, class: u64) -> impl Iterator<Item = (&Shown, &VisibleClass)> {
        self.classes
            .get(&class)
            .into_iter()
            .flat_map(|class| &class.visible)
            .flat_map(move |visible| {
                self.members
                    .get(&visible.class_id)
                    .into_iter()
                    .flatten()
                    .filter(move |&&id| id != viewer)
                    .filter_map(|id| self.nodes.get(id))
                    .filter(|shown| shown.offered)
                    .map(move |shown| (shown, visible))
            })
    }
}

/// Returns how a class sees another, when it sees it at all.
#[must_use]
pub fn visible_in(class: &Class, peer: u64) -> Option<&VisibleClass> {
    // The compiler sends the list sorted by class number.
    let index = class
        .visible
        .binary_search_by_key(&peer, |visible| visible.class_id)
        .ok()?;
    class.visible.get(index)
}
