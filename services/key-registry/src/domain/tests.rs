//! What tests of several rules begin with.

use bowline_proto::key_registry::v1::Node;
use chrono::{DateTime, TimeDelta, Utc};

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

/// Returns a node of a user, in good standing.
pub(crate) fn node() -> Node {
    Node {
        machine_key: vec![1; 32],
        user_id: 7,
        tailnet_id: 3,
        approved: true,
        ..Node::default()
    }
}
