use bowline_change_feed::{Position, Snapshot};
use bowline_proto::identity::v1::{
    IdentityChange, IdentityChanges, IdentitySnapshot, Tailnet, User,
};

use super::*;
use crate::domain::rotation::KeyOwner;
use crate::sweeper::tests::{TAILNET, TestRegistry, node};

fn snapshot(chunk: IdentitySnapshot) -> Update<IdentityLog> {
    Update::Snapshot(Snapshot {
        chunks: vec![chunk],
        position: Position {
            revision: 3,
            soft_revision: 0,
        },
    })
}

#[test]
fn only_what_identity_says_is_deleted_goes() {
    let node = |user_id, tags: &[&str]| Node {
        user_id,
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        ..Node::default()
    };
    let known = DeletedUsers::from_update(snapshot(IdentitySnapshot {
        tailnet: Some(Tailnet::default()),
        deleted_user_ids: vec![8],
        ..IdentitySnapshot::default()
    }));
    assert!(known.includes_node(&node(8, &[])));
    assert!(!known.includes_node(&node(8, &["tag:a"])));
    assert!(
        !known.includes_node(&node(7, &[])),
        "a user who is not there may be lost"
    );
    let lost = DeletedUsers::from_update(snapshot(IdentitySnapshot::default()));
    assert!(!lost.includes_node(&node(8, &[])) && !lost.includes_node(&node(8, &["tag:a"])));
    let deleted = DeletedUsers::from_update(snapshot(IdentitySnapshot {
        tailnet_deleted: true,
        ..IdentitySnapshot::default()
    }));
    assert!(deleted.includes_node(&node(8, &["tag:a"])));
}

fn merged_user() -> User {
    User {
        id: 8,
        tailnet_id: TAILNET,
        login_name: "amira@example.com".to_owned(),
        former_ids: vec![6, 7],
        ..User::default()
    }
}

/// What a registry hears that was there when the users were merged.
fn entries(entries: Vec<Change>, from_revision: u64) -> Update<IdentityLog> {
    let wrap = IdentityChange::from;
    let revision = from_revision + entries.len() as u64;
    let position = Position {
        revision,
        soft_revision: 0,
    };
    let changes = IdentityChanges {
        entries: entries.into_iter().map(wrap).collect(),
        from_revision,
        head: revision,
        compacted: false,
    };
    Update::Changes(changes, position)
}

/// What one hears that was away.
fn whole(users: Vec<User>, revision: u64) -> Update<IdentityLog> {
    Update::Snapshot(Snapshot {
        chunks: vec![IdentitySnapshot {
            tailnet: Some(Tailnet::default()),
            users,
            ..IdentitySnapshot::default()
        }],
        position: Position {
            revision,
            soft_revision: 0,
        },
    })
}

async fn hear(registry: &TestRegistry, update: Update<IdentityLog>) {
    let follower = IdentityFollower::new(registry.log.clone(), registry.adoption.clone());
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let heard = StandingUpdate::from_update(&update);
    let heard = HeardUpdate {
        standing: heard,
        rules: None,
    };
    follower.apply_update(tailnet, heard).await.unwrap();
    let ends = DeletedUsers::from_update(update);
    follower.delete_orphans(tailnet, &ends).await.unwrap();
}

#[tokio::test]
async fn nodes_of_a_merged_user_move_once_whether_the_registry_was_there_or_not() {
    let while_there = || entries(vec![Change::User(merged_user())], 4);
    let after_a_while = || whole(vec![merged_user()], 5);
    for (first, second) in [
        (while_there(), after_a_while()),
        (after_a_while(), while_there()),
        (while_there(), while_there()),
        (after_a_while(), after_a_while()),
    ] {
        let registry = TestRegistry::new().await;
        let tagged = Node {
            tags: vec!["tag:db".to_owned()],
            ..node(2)
        };
        registry.put(node(1)).await;
        registry.put(tagged.clone()).await;
        hear(&registry, first).await;
        for before in [node(1), tagged] {
            let moved = Node {
                user_id: 8,
                ..before
            };
            assert_eq!(registry.node(moved.id).await.unwrap(), moved);
        }
        let head = registry.head().await;
        hear(&registry, second).await;
        assert_eq!(registry.head().await, head, "nothing more is said");
        assert_eq!(registry.count_audited("user.merge").await, 1);
        let owner = KeyOwner {
            tailnet_id: TAILNET,
            user_id: 7,
            tags: Vec::new(),
        };
        assert!(
            registry.is_barred_since(owner, 4).await,
            "who was resolved before the merge registers no node by the former number"
        );
    }
}

#[tokio::test]
async fn deletion_of_who_stays_reaches_what_was_merged_into_it() {
    let gone = vec![Change::User(merged_user()), Change::UserDeleted(8)];
    let away = snapshot(IdentitySnapshot {
        tailnet: Some(Tailnet::default()),
        deleted_user_ids: vec![6, 7, 8],
        ..IdentitySnapshot::default()
    });
    for heard in [entries(gone, 4), away] {
        let registry = TestRegistry::new().await;
        registry.put(node(1)).await;
        hear(&registry, heard).await;
        assert!(registry.node(1).await.is_none());
    }
}
