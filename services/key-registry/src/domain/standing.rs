//! Which nodes may change anything about themselves that others rely on.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use super::key;

/// Says whether a node may change hard state of itself: its owner, tags, routes, name and the end of its key.
///
/// A node that waits for approval, whose key has ended, that has no owner, or that goes with a user who is suspended or
/// gone may not. What it reports meanwhile is kept and judged when it is in good standing again. Ending its own key is
/// no such change: that only takes away.
pub fn may_change_itself(node: &Node, is_user_barred: bool, now: DateTime<Utc>) -> bool {
    node.approved && !key::has_ended(node, now) && !is_cut_off(node, is_user_barred)
}

/// Says whether a node is cut off with its user, or has none it could go with.
pub fn is_cut_off(node: &Node, is_user_barred: bool) -> bool {
    node.goes_with_user() && (is_user_barred || node.user_id == 0)
}

#[cfg(test)]
mod tests {
    use bowline_proto::key_registry::v1::TaggedBy;

    use super::*;
    use crate::domain::to_timestamp;

    #[test]
    fn only_nodes_in_good_standing_change_themselves() {
        let now = DateTime::UNIX_EPOCH;
        let good = Node {
            user_id: 7,
            approved: true,
            ..Node::default()
        };
        assert!(may_change_itself(&good, false, now));
        assert!(!may_change_itself(&good, true, now), "suspended");
        let ownerless = Node {
            user_id: 0,
            ..good.clone()
        };
        assert!(!may_change_itself(&ownerless, false, now));
        let unapproved = Node {
            approved: false,
            ..good.clone()
        };
        assert!(!may_change_itself(&unapproved, false, now));
        let expired = Node {
            expired: true,
            ..good.clone()
        };
        assert!(!may_change_itself(&expired, false, now));
        let ended = Node {
            key_expiry: Some(to_timestamp(now)),
            ..good.clone()
        };
        assert!(!may_change_itself(&ended, false, now), "not swept yet");
        let tagged = |by: TaggedBy| Node {
            tags: vec!["tag:web".to_owned()],
            tagged_by: by.into(),
            ..good.clone()
        };
        assert!(!may_change_itself(&tagged(TaggedBy::User), true, now));
        assert!(may_change_itself(
            &tagged(TaggedBy::Administrator),
            true,
            now
        ));
    }
}
