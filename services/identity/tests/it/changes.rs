//! What services that follow identity are told.

use bowline_proto::changes::v1::{ChangesSinceRequest, SnapshotRequest};
use bowline_proto::identity::v1::identity_change;
use bowline_proto::identity::v1::identity_service_client::IdentityServiceClient;
use bowline_test_servers::on_both;

use crate::identity::TestIdentity;

on_both!(TestIdentity::start =>
    follower_sees_every_change_in_order,
);

async fn follower_sees_every_change_in_order(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let mut client = IdentityServiceClient::new(identity.registry());
    let since = |revision| ChangesSinceRequest {
        tailnet_id: home.id,
        revision,
        soft_revision: 0,
    };
    let changes = client.changes_since(since(0)).await.unwrap().into_inner();
    assert_eq!(
        (changes.entries.len(), changes.head, changes.compacted),
        (2, 2, false)
    );
    assert_eq!(
        changes.entries[1].change,
        Some(identity_change::Change::User(user.clone()))
    );
    assert!(
        client
            .changes_since(since(2))
            .await
            .unwrap()
            .into_inner()
            .entries
            .is_empty()
    );

    let request = SnapshotRequest {
        tailnet_id: home.id,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert!(only.last && only.revision == 2);
    assert_eq!(
        (only.tailnet.unwrap().name, only.users),
        ("home".to_owned(), vec![user])
    );
}
