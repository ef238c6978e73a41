use bowline_change_feed::{Position, Snapshot};
use bowline_proto::identity::v1::{IdentitySnapshot, Tailnet, User};

use super::*;

fn snapshot(tailnet: Option<Tailnet>, revision: u64) -> Update<IdentityLog> {
    let user = User {
        id: 7,
        ..User::default()
    };
    Update::Snapshot(Snapshot {
        chunks: vec![IdentitySnapshot {
            tailnet,
            users: vec![user],
            ..IdentitySnapshot::default()
        }],
        position: Position {
            revision,
            soft_revision: 0,
        },
    })
}

#[test]
fn only_what_identity_says_is_gone_goes() {
    let node = |user_id, tags: &[&str]| Node {
        user_id,
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..Node::default()
    };
    let known = DeletedUsers::from_update(snapshot(Some(Tailnet::default()), 3));
    assert!(known.includes_node(&node(8, &[])) && !known.includes_node(&node(7, &[])));
    assert!(!known.includes_node(&node(8, &["tag:a"])));
    assert!(DeletedUsers::from_update(snapshot(None, 3)).includes_node(&node(8, &["tag:a"])));
    let lost = DeletedUsers::from_update(snapshot(None, 0));
    assert!(!lost.includes_node(&node(8, &[])) && !lost.includes_node(&node(8, &["tag:a"])));
}
