//! What follows from a node's own fields, for every service alike.

use crate::key_registry::v1::{Node, TaggedBy};

impl Node {
    /// Says whether the node goes with its user: it is cut off while the user is suspended or gone.
    ///
    /// A node without tags does. One with tags does when the user gave them, until an administrator confirms them; tags
    /// from before it was kept who gave them count as the user's, where the node has one.
    #[must_use]
    pub fn goes_with_user(&self) -> bool {
        match self.tagged_by() {
            _ if self.tags.is_empty() => true,
            TaggedBy::User => true,
            TaggedBy::PreAuthKey | TaggedBy::Administrator => false,
            TaggedBy::Unspecified => self.user_id != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_of_others_part_a_node_from_its_user() {
        let node = |tags: &[&str], user_id, tagged_by: TaggedBy| Node {
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            user_id,
            tagged_by: tagged_by.into(),
            ..Node::default()
        };
        let tagged = ["tag:web"];
        assert!(node(&[], 7, TaggedBy::Unspecified).goes_with_user());
        assert!(node(&[], 0, TaggedBy::Administrator).goes_with_user());
        assert!(node(&tagged, 7, TaggedBy::User).goes_with_user());
        assert!(node(&tagged, 7, TaggedBy::Unspecified).goes_with_user());
        assert!(!node(&tagged, 0, TaggedBy::Unspecified).goes_with_user());
        assert!(!node(&tagged, 7, TaggedBy::PreAuthKey).goes_with_user());
        assert!(!node(&tagged, 7, TaggedBy::Administrator).goes_with_user());
    }
}
