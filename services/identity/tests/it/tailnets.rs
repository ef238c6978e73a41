//! Tailnets and their settings.

use bowline_proto::changes::v1::{ChangesSinceRequest, SnapshotRequest};
use bowline_proto::identity::v1::identity_service_client::IdentityServiceClient;
use bowline_proto::identity::v1::tailnet_service_client::TailnetServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    CreateTailnetRequest, DeleteTailnetRequest, DeleteUserRequest, DnsChange, DnsNames,
    UpdateDnsRequest, dns_change, identity_change,
};
use bowline_test_servers::on_both;
use tonic::Code;

use crate::identity::TestIdentity;

on_both!(TestIdentity::start =>
    names_are_unique_and_errors_say_so,
    dns_settings_change_together_and_the_trail_has_before_and_after,
    tailnet_with_users_is_not_deleted,
    callers_may_only_do_what_is_declared,
);

async fn names_are_unique_and_errors_say_so(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let twice = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap_err();
    assert_eq!(twice.code(), Code::AlreadyExists);
    let wrong = identity.new_user(home.id, "amira").await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("login_name"), "{wrong}");
    let nowhere = identity
        .new_user(home.id + 1000, "amira@example.com")
        .await
        .unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
}

async fn dns_settings_change_together_and_the_trail_has_before_and_after(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let mut client = TailnetServiceClient::new(identity.admin());
    let request = |changes: Vec<dns_change::Change>| UpdateDnsRequest {
        tailnet_id: home.id,
        changes: changes
            .into_iter()
            .map(|change| DnsChange {
                change: Some(change),
            })
            .collect(),
    };
    let servers = |value: &str| {
        dns_change::Change::Nameservers(DnsNames {
            values: vec![value.to_owned()],
        })
    };
    // All or nothing.
    let wrong = request(vec![servers("1.1.1.1"), servers("dns.test")]);
    let refused = client.update_dns(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let changes = vec![
        servers("1.1.1.1"),
        dns_change::Change::OverrideLocal(true),
        dns_change::Change::MagicDnsSuffix("corp.test".to_owned()),
    ];
    let mut changed = Vec::new();
    for _ in 0..2 {
        let answer = client.update_dns(request(changes.clone())).await.unwrap();
        changed.push(answer.into_inner().tailnet.unwrap());
    }
    assert_eq!(changed[0], changed[1]);
    let dns = changed[0].dns.clone().unwrap();
    assert!(dns.override_local && dns.magic_dns);
    assert_eq!(changed[0].magic_dns_suffix, "corp.test");

    // The second time changed nothing: one entry in the log and in the trail.
    let since = ChangesSinceRequest {
        tailnet_id: home.id,
        revision: 1,
        soft_revision: 0,
    };
    let mut follower = IdentityServiceClient::new(identity.registry());
    let followed = follower.changes_since(since).await.unwrap().into_inner();
    assert_eq!(followed.entries.len(), 1);
    let trail = identity.audited_details("dns.update").await;
    let expected = serde_json::json!({
        "before": { "nameservers": [], "override_local": false, "magic_dns_suffix": "home.bowline.internal" },
        "after": { "nameservers": ["1.1.1.1"], "override_local": true, "magic_dns_suffix": "corp.test" },
    });
    assert_eq!(trail, [expected]);
}

async fn tailnet_with_users_is_not_deleted(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let mut tailnets = TailnetServiceClient::new(identity.admin());
    let delete = DeleteTailnetRequest {
        tailnet_id: home.id,
    };
    let refused = tailnets.delete_tailnet(delete).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let request = DeleteUserRequest {
        tailnet_id: home.id,
        user_id: user.id,
    };
    UserServiceClient::new(identity.admin())
        .delete_user(request)
        .await
        .unwrap();
    tailnets.delete_tailnet(delete).await.unwrap();

    // Followers see it by the log as by a snapshot.
    let mut client = IdentityServiceClient::new(identity.registry());
    let since = ChangesSinceRequest {
        tailnet_id: home.id,
        revision: 3,
        soft_revision: 0,
    };
    let changes = client.changes_since(since).await.unwrap().into_inner();
    let deleted = identity_change::Change::TailnetDeleted(true);
    assert_eq!(changes.entries[0].change, Some(deleted));
    assert_eq!((changes.entries.len(), changes.head), (1, 4));
    let request = SnapshotRequest {
        tailnet_id: home.id,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert!(only.last && only.tailnet.is_none() && only.users.is_empty());
    assert_eq!(only.revision, 4);

    let again = identity.new_tailnet("home").await;
    assert!(again.id > home.id, "a number is never used again");
}

async fn callers_may_only_do_what_is_declared(identity: TestIdentity) {
    let request = CreateTailnetRequest {
        name: "home".to_owned(),
        settings: None,
    };
    let mut client = TailnetServiceClient::new(identity.registry());
    let refused = client.create_tailnet(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
