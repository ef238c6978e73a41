//! Who answers for a node.

use crate::UserId;

/// Who answers for a node, and so for what it takes of something that all share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeOwner {
    /// The user who owns it, or who added it when it is tagged.
    User(UserId),
    /// Of a node that no user added: the first of its tags, empty when it has none. Not all of them: with a few tags a
    /// node could choose between many owners.
    Tag(Box<str>),
}
