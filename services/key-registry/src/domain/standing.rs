//! Which nodes may change anything about themselves that others rely on.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, Utc};

use super::key;

/// Says whether a node may change hard state of itself: its owner, tags, routes, name and the end of its key.
///
/// A node that waits for approval, is disabled, whose key has ended, that has no owner, or that goes with a user who is suspended or
/// gone may not. What it reports meanwhile is kept and judged when it is in good standing again. Ending its own key is
/// no such change: that only takes away.
pub fn may_change_itself(node: &Node, is_user_barred: bool, now: DateTime<Utc>) -> bool {
    node.is_authorized() && !key::has_ended(node, now) && !is_cut_off(node, is_user_barred)
}

/// Says whether a node is cut off with its user, or has none it could go with.
pub fn is_cut_off(node: &Node, is_user_barred: bool) -> bool {
    node.goes_with_user() && (is_user_barred || node.user_id == 0)
}

#[cfg(test)]
mod tests;
