//! Which numbers of nodes make a block.
//!
//! A viewer that sees one node in a hundred has blocks that are a hundred times as long: a block always has about as many peers.

use std::{cell::OnceCell, collections::BTreeSet, ops::Range};

use bowline_ids::NodeId;

use crate::{
    message::Viewer,
    view::{Generation, ShownNode, View},
};

/// How many numbers are one block where a viewer sees most nodes. Changes are noted for so many at once.
pub(super) const BLOCK: u64 = 128;
/// Into how many parts a block is divided.
const PARTS: u64 = 8;

/// Neighbouring numbers of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlockNumbers {
    first: u64,
    pub(super) length: u64,
}

impl BlockNumbers {
    /// Returns the block of some length that a node is in.
    pub(super) const fn around(id: NodeId, length: u64) -> Self {
        Self {
            first: id.get() / length * length,
            length,
        }
    }

    /// Says whether a node has one of them.
    pub(super) fn contains(self, id: NodeId) -> bool {
        self.range().contains(&id.get())
    }

    /// Returns the number of a shortest block.
    pub(super) const fn number(self) -> u64 {
        self.first / BLOCK
    }

    /// Returns its parts, in order.
    pub(super) fn parts(self) -> impl Iterator<Item = Self> {
        let length = self.length / PARTS;
        (0..PARTS).map(move |part| Self {
            first: self.first + part * length,
            length,
        })
    }

    /// Returns the numbers of the shortest blocks that it consists of, or is a part of.
    pub(super) const fn short_blocks(self) -> Range<u64> {
        self.first / BLOCK..(self.first + self.length).div_ceil(BLOCK)
    }

    /// Says whether there are nodes in a set that have them.
    pub(super) fn has_some_of(self, nodes: &BTreeSet<NodeId>) -> bool {
        self.of_set(nodes).next().is_some()
    }

    /// Says whether there are nodes in a view that have them.
    pub(super) fn has_nodes(self, view: &View) -> bool {
        self.of_view(view).next().is_some()
    }

    fn of_set(self, nodes: &BTreeSet<NodeId>) -> impl Iterator<Item = NodeId> {
        let from = self.first_id().into_iter();
        let from = from.flat_map(|first| nodes.range(first..).copied());
        from.take_while(move |id| self.contains(*id))
    }

    fn of_view(self, view: &View) -> impl Iterator<Item = NodeId> {
        let from = self.first_id().into_iter();
        let from = from.flat_map(|first| view.nodes.range(first..));
        let from = from.map(|(id, _)| *id);
        from.take_while(move |id| self.contains(*id))
    }

    fn first_id(self) -> Option<NodeId> {
        // There is no node zero.
        NodeId::try_from(self.first.max(1)).ok()
    }

    const fn range(self) -> Range<u64> {
        self.first..self.first + self.length
    }
}

/// The nodes that a viewer may see, by number.
pub(super) struct NumberedPeers<'v> {
    pub(super) viewer: Viewer<'v>,
    /// How many numbers are one block.
    length: u64,
    /// The nodes that it may see, where these are few; found when they are asked for.
    few: OnceCell<BTreeSet<NodeId>>,
}

impl<'v> NumberedPeers<'v> {
    pub(super) fn of(viewer: Viewer<'v>) -> Self {
        Self {
            viewer,
            length: BLOCK * space_between(viewer).next_power_of_two(),
            few: OnceCell::new(),
        }
    }

    /// Returns the generation of the view that they are of.
    pub(super) const fn generation(&self) -> Generation {
        self.viewer.at.view.generation
    }

    /// Returns the blocks that have nodes, ascending.
    pub(super) fn blocks(&self) -> impl Iterator<Item = BlockNumbers> {
        let (view, length) = (self.viewer.at.view, self.length);
        let next = move |number: u64| {
            let from = NodeId::try_from(number.max(1)).ok()?;
            let (id, _) = view.nodes.range(from..).next()?;
            Some(BlockNumbers::around(*id, length))
        };
        std::iter::successors(next(0), move |block| next(block.first + block.length))
    }

    /// Returns the peers with some numbers, ascending.
    pub(super) fn peers(&self, numbers: BlockNumbers) -> impl Iterator<Item = &'v ShownNode> {
        let viewer = self.viewer;
        let ids: Box<dyn Iterator<Item = NodeId>> = match self.length {
            BLOCK => Box::new(numbers.of_view(viewer.at.view)),
            _ => Box::new(numbers.of_set(self.few())),
        };
        ids.filter_map(move |id| viewer.visible_peer(id))
    }

    fn few(&self) -> &BTreeSet<NodeId> {
        let Viewer { at, own, .. } = self.viewer;
        self.few.get_or_init(|| at.view.possible_peers(own))
    }
}

/// Returns how many numbers there are for each node that a viewer may see.
fn space_between(viewer: Viewer<'_>) -> u64 {
    let Viewer { at, own, class } = viewer;
    let nodes = &at.view.nodes;
    let (first, last) = (nodes.get_min(), nodes.get_max());
    let numbers = first.zip(last);
    let numbers = numbers.map_or(0, |((first, _), (last, _))| last.get() - first.get() + 1);
    let seen = at.view.count_nodes_seen_by(class, own.user());
    numbers / u64::try_from(seen).unwrap_or(u64::MAX).max(1)
}
