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
    let disabled = Node {
        disabled: true,
        ..good.clone()
    };
    assert!(!may_change_itself(&disabled, false, now));
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
