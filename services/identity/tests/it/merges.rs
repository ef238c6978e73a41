//! Two accounts of one person become one.

use std::time::Duration;

use bowline_proto::{
    audit::v1::ListAuditRequest,
    identity::v1::{
        ListApiKeysRequest, ListUsersRequest, MergeUsersRequest, MergeUsersResponse,
        ResolveUsersRequest, ResolveUsersResponse, Role, User,
        api_key_service_client::ApiKeyServiceClient,
        identity_service_client::IdentityServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        Node, PreAuthKey, RegisterRequest,
        audit_service_client::AuditServiceClient as RegistryAudit,
    },
    policy::v1::ExplainAccessRequest,
};
use bowline_service_kit::ServiceName;
use bowline_test_support::{TestServices, on_both};
use tonic::{Code, Status};

on_both!(TestServices::start =>
    two_accounts_become_one_with_all_that_they_have,
    merges_that_would_give_or_take_too_much_are_refused,
    some_users_are_resolved_at_once,
);

const POLICY: &str = r#"{"tagOwners": {"tag:db": []}, "acls": [
    {"action": "accept", "src": ["amira@example.com", "group:dev"], "dst": ["tag:db:22"]},
]}"#;

async fn merge(
    services: &TestServices,
    from: &User,
    into: &User,
    dry_run: bool,
) -> Result<MergeUsersResponse, Status> {
    let request = MergeUsersRequest {
        tailnet_id: services.tailnet,
        from_user_id: from.id,
        into_user_id: into.id,
        dry_run,
    };
    let mut users = UserServiceClient::new(services.admin());
    Ok(users.merge_users(request).await?.into_inner())
}

async fn list_users(services: &TestServices) -> Vec<User> {
    let request = ListUsersRequest {
        tailnet_id: services.tailnet,
        ..ListUsersRequest::default()
    };
    let mut users = UserServiceClient::new(services.admin());
    users.list_users(request).await.unwrap().into_inner().users
}

async fn register(services: &TestServices, number: u8, key: &str) -> Node {
    let request = RegisterRequest {
        machine_key: vec![number; 32],
        node_key: vec![number + 100; 32],
        hostname: format!("laptop-{number}"),
        pre_auth_key: key.to_owned(),
        ..RegisterRequest::default()
    };
    services.register_node(request).await
}

async fn await_access(services: &TestServices, source: &Node, destination: &Node, is_so: bool) {
    let request = ExplainAccessRequest {
        tailnet_id: services.tailnet,
        source_node_id: source.id,
        destination_node_id: destination.id,
    };
    let asking = async {
        loop {
            let answer = services.policies().explain_access(request).await;
            // The compiler hears of a node a moment later.
            if answer.is_ok_and(|answer| answer.into_inner().allowed_by.is_empty() != is_so) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, asking)
        .await
        .expect("the policy follows");
}

async fn two_accounts_become_one_with_all_that_they_have(services: TestServices) {
    let amira = services.user.clone();
    let tailnet = services.tailnet;
    services.set_groups(&["dev"]).await;
    let other = services
        .new_user(tailnet, "amira@old.example", Role::Member)
        .await;
    let key = PreAuthKey {
        user_id: other.id,
        reusable: true,
        ..PreAuthKey::default()
    };
    let key = services.new_key(key).await;
    let laptop = register(&services, 1, &key).await;
    services.set_policy(POLICY).await;
    let database = register(&services, 2, &services.new_tag_key("tag:db").await).await;
    await_access(&services, &laptop, &database, false).await;
    let (api_key, _) = services.new_api_key(&other, &["users:read"]).await;

    let told = merge(&services, &other, &amira, true).await.unwrap();
    assert_eq!(told.moved.unwrap().api_keys, [&*api_key]);
    assert_eq!(list_users(&services).await.len(), 2, "it only says so");
    assert_eq!(services.node(laptop.id).await, laptop);

    let merged = merge(&services, &other, &amira, false).await.unwrap();
    let user = merged.user.unwrap();
    assert_eq!((user.id, &*user.former_ids), (amira.id, &[other.id][..]));
    let moved = services
        .wait_for_node(laptop.id, |node| node.user_id == amira.id)
        .await;
    let expected = Node {
        user_id: amira.id,
        ..laptop.clone()
    };
    assert_eq!(moved, expected);
    await_access(&services, &laptop, &database, true).await;
    let listed = list_users(&services).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].former_ids, [other.id]);
    let resolved = resolve_users(&services, &[other.id, 1 << 40, amira.id]).await;
    let resolved = resolved.unwrap();
    let asked: Vec<_> = resolved.users.iter().map(|found| found.asked_id).collect();
    let mut expected = [other.id, amira.id];
    expected.sort_unstable();
    assert_eq!(asked, expected, "who is not there is left out");
    let users = resolved.users.into_iter().flat_map(|found| found.user);
    assert!(users.map(|user| user.id).eq([amira.id, amira.id]));
    assert_eq!(resolved.tailnet.map(|tailnet| tailnet.id), Some(tailnet));

    // What was the other's is hers: a key that somebody still has, and an API key.
    let phone = register(&services, 3, &key).await;
    assert_eq!(phone.user_id, amira.id);
    let request = ListApiKeysRequest {
        tailnet_id: tailnet,
    };
    let mut keys = ApiKeyServiceClient::new(services.admin());
    let keys = keys.list_api_keys(request).await.unwrap().into_inner().keys;
    assert_eq!((keys[0].user_id, &*keys[0].id), (amira.id, &*api_key));

    let gone = merge(&services, &other, &amira, false).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let request = ListAuditRequest {
        tailnet_id: tailnet,
        limit: 1000,
        ..ListAuditRequest::default()
    };
    let mut audit = RegistryAudit::new(services.admin());
    let entries = audit
        .list_audit(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    let count = entries
        .iter()
        .filter(|entry| entry.action == "user.merge")
        .count();
    assert_eq!(count, 1, "one entry of the registry");
}

async fn resolve_users(
    services: &TestServices,
    user_ids: &[u64],
) -> Result<ResolveUsersResponse, Status> {
    let request = ResolveUsersRequest {
        tailnet_id: services.tailnet,
        user_ids: user_ids.to_vec(),
    };
    let channel = services.service(ServiceName::KeyRegistry);
    let mut identity = IdentityServiceClient::new(channel);
    Ok(identity.resolve_users(request).await?.into_inner())
}

async fn some_users_are_resolved_at_once(services: TestServices) {
    let mut ids = vec![services.user.id];
    for number in 0..4 {
        let name = format!("user-{number}@example.com");
        ids.push(
            services
                .new_user(services.tailnet, &name, Role::Member)
                .await
                .id,
        );
    }
    for count in 1..=ids.len() {
        let resolved = resolve_users(&services, &ids[..count]).await.unwrap();
        assert_eq!(resolved.users.len(), count);
        for found in resolved.users {
            assert_eq!(found.user.map(|user| user.id), Some(found.asked_id));
        }
        let tailnet = resolved.tailnet.unwrap();
        assert_eq!((tailnet.id, &*tailnet.name), (services.tailnet, "home"));
        assert!(resolved.revision > 0);
    }
    let nobody = resolve_users(&services, &[1 << 40]).await.unwrap();
    assert!(nobody.users.is_empty() && nobody.tailnet.is_some());
    for wrong in [vec![], vec![ids[0]; 101]] {
        let refused = resolve_users(&services, &wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let request = ResolveUsersRequest {
        tailnet_id: 1 << 40,
        user_ids: ids,
    };
    let channel = services.service(ServiceName::KeyRegistry);
    let mut identity = IdentityServiceClient::new(channel);
    let refused = identity.resolve_users(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn merges_that_would_give_or_take_too_much_are_refused(services: TestServices) {
    let amira = services.user.clone();
    let new_user = async |name: &str, role| services.new_user(services.tailnet, name, role).await;
    let owner = new_user("olga@example.com", Role::Owner).await;
    let suspended = new_user("sam@example.com", Role::Member).await;
    services.set_suspended(&suspended, true).await;
    let elsewhere = services.new_tailnet("elsewhere").await;
    for (from, into, code, words) in [
        (
            &owner,
            &amira,
            Code::FailedPrecondition,
            "transfer the ownership",
        ),
        (&suspended, &amira, Code::FailedPrecondition, "restore"),
        (&amira, &suspended, Code::FailedPrecondition, "restore"),
        (&amira, &amira, Code::InvalidArgument, "same user"),
        (&elsewhere, &amira, Code::NotFound, "user"),
        (&amira, &elsewhere, Code::NotFound, "user"),
    ] {
        for dry_run in [true, false] {
            let refused = merge(&services, from, into, dry_run).await.unwrap_err();
            assert_eq!(refused.code(), code, "{refused}");
            assert!(refused.message().contains(words), "{refused}");
        }
    }
    // Who keeps users makes no administrator of somebody by this.
    let it_admin = new_user("ida@example.com", Role::ItAdmin).await;
    let (_, secret) = services.new_api_key(&it_admin, &["users"]).await;
    let request = |from: &User, into: &User| MergeUsersRequest {
        tailnet_id: services.tailnet,
        from_user_id: from.id,
        into_user_id: into.id,
        dry_run: false,
    };
    let mut users = UserServiceClient::new(services.with_token(&secret));
    for (from, into) in [(&amira, &owner), (&it_admin, &amira)] {
        let refused = users.merge_users(request(from, into)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    // The owner is the one who stays.
    let merged = merge(&services, &amira, &owner, false).await.unwrap();
    assert_eq!(merged.user.unwrap().role(), Role::Owner);
}
