//! API keys, OAuth clients and their tokens: what they may do, and how they end.

use std::{sync::Arc, time::Duration};

use bowline_clock::{ManualClock, SharedClock};
use bowline_proto::{
    audit::v1::ListAuditRequest,
    identity::v1::{
        ApproveLoginRequest, Connection, CreateApiKeyRequest, CreateConnectionRequest,
        CreateOAuthClientRequest, CreateScimTokenRequest, DeleteUserRequest,
        IssueAccessTokenRequest, ListApiKeysRequest, ListUsersRequest, OidcProvider,
        ResolveTailnetRequest, RevokeApiKeyRequest, RevokeOAuthClientRequest, Role,
        TransferOwnershipRequest, UpdateUserRequest, User,
        api_key_service_client::ApiKeyServiceClient, audit_service_client::AuditServiceClient,
        connection::Provider, connection_service_client::ConnectionServiceClient,
        identity_service_client::IdentityServiceClient, login_service_client::LoginServiceClient,
        o_auth_client_service_client::OAuthClientServiceClient,
        scim_token_service_client::ScimTokenServiceClient,
        token_service_client::TokenServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, GetNodeRequest, ListNodesRequest, PreAuthKey, RenameNodeRequest,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
};
use bowline_service_kit::{ServiceName, status_reason};
use bowline_test_support::{TestDatabase, TestServices, TokenChannel, on_both};
use prost_types::FieldMask;
use tonic::{Code, Status};

on_both!(TestServices::start =>
    api_keys_are_listed_with_their_last_use_and_end_at_once_when_revoked,
    tokens_end_with_their_user_and_its_role,
    clients_get_tokens_for_an_hour_that_end_with_them,
    nobody_makes_himself_more_than_he_is,
    ownership_is_given_away_by_the_owner_alone,
    new_credentials_do_no_more_than_who_makes_them,
    it_admins_give_the_tags_that_are_theirs,
    members_see_and_rename_their_own_devices,
    tokens_are_taken_from_gateways_alone,
);

/// Asks with a token until it passes or does not: what ended a second ago may pass for a second.
async fn await_end(channel: &TokenChannel) -> Status {
    tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            let mut users = UserServiceClient::new(channel.clone());
            match users.list_users(ListUsersRequest::default()).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(status) => return status,
            }
        }
    })
    .await
    .expect("the token ends within a second")
}

async fn list_users(channel: &TokenChannel) -> Result<Vec<User>, Status> {
    let mut users = UserServiceClient::new(channel.clone());
    let listed = users.list_users(ListUsersRequest::default()).await?;
    Ok(listed.into_inner().users)
}

async fn change_user(
    services: &TestServices,
    user: &User,
    change: impl FnOnce(&mut User),
    field: &str,
) {
    let mut changed = user.clone();
    change(&mut changed);
    let mut users = UserServiceClient::new(services.admin());
    users.update_user(update_of(changed, field)).await.unwrap();
}

fn update_of(user: User, field: &str) -> UpdateUserRequest {
    UpdateUserRequest {
        user: Some(user),
        update_mask: Some(FieldMask {
            paths: vec![field.to_owned()],
        }),
    }
}

fn assert_denied<T: std::fmt::Debug>(answer: Result<T, Status>, word: &str) {
    let status = answer.expect_err("a refusal");
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(
        status_reason(&status).as_deref(),
        Some("DENIED"),
        "{status:?}"
    );
    assert!(status.message().contains(word), "{status:?}");
}

async fn api_keys_are_listed_with_their_last_use_and_end_at_once_when_revoked(
    services: TestServices,
) {
    let admin = services
        .new_user(services.tailnet, "ada@example.com", Role::Admin)
        .await;
    let (id, secret) = services.new_api_key(&admin, &["users"]).await;
    let mut keys = ApiKeyServiceClient::new(services.admin());
    let list = ListApiKeysRequest {
        tailnet_id: services.tailnet,
    };
    let listed = keys.list_api_keys(list).await.unwrap().into_inner().keys;
    assert_eq!((listed.len(), &listed[0].id), (1, &id));
    assert!(listed[0].last_used_at.is_none() && listed[0].expires_at.is_some());
    assert!(!format!("{listed:?}").contains(&secret));

    // A request that names no tailnet is about the token's.
    let channel = services.with_token(&secret);
    assert!(
        list_users(&channel)
            .await
            .unwrap()
            .iter()
            .all(|user| user.tailnet_id == services.tailnet)
    );
    let listed = keys.list_api_keys(list).await.unwrap().into_inner().keys;
    assert!(listed[0].last_used_at.is_some());

    // Not for other scopes, and a wrong secret proves nothing.
    let mut nodes = NodeServiceClient::new(channel.clone());
    let refused = nodes
        .list_nodes(ListNodesRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(
        refused.message().contains("devices:core:read"),
        "{refused:?}"
    );
    let mut wrong = secret.clone();
    wrong.replace_range(
        wrong.len() - 1..,
        if secret.ends_with('0') { "1" } else { "0" },
    );
    for text in [wrong.as_str(), "tskey-api-1-2", &id] {
        let refused = list_users(&services.with_token(text)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{text}");
    }

    let revoke = RevokeApiKeyRequest {
        tailnet_id: services.tailnet,
        id: id.clone(),
    };
    let revoked = keys
        .revoke_api_key(revoke.clone())
        .await
        .unwrap()
        .into_inner()
        .key
        .unwrap();
    let again = keys
        .revoke_api_key(revoke)
        .await
        .unwrap()
        .into_inner()
        .key
        .unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(revoked.revoked_at, again.revoked_at);
    assert_eq!(await_end(&channel).await.code(), Code::Unauthenticated);

    assert_trail_tells(&services, &id, &secret).await;
}

/// The trail tells of the key, and never its text.
async fn assert_trail_tells(services: &TestServices, id: &str, secret: &str) {
    let mut audit = AuditServiceClient::new(services.admin());
    let trail = audit
        .list_audit(ListAuditRequest {
            tailnet_id: services.tailnet,
            ..ListAuditRequest::default()
        })
        .await
        .unwrap()
        .into_inner()
        .entries;
    let actions: Vec<_> = trail
        .iter()
        .filter(|entry| entry.object == id)
        .map(|entry| &*entry.action)
        .collect();
    assert_eq!(actions, ["api_key.revoke", "api_key.create"]);
    assert!(trail.iter().all(|entry| !entry.detail.contains(secret)));
}

async fn tokens_end_with_their_user_and_its_role(services: TestServices) {
    let user = services
        .new_user(services.tailnet, "ada@example.com", Role::Admin)
        .await;
    let (_, secret) = services.new_api_key(&user, &["all"]).await;
    let channel = services.with_token(&secret);
    list_users(&channel).await.unwrap();
    change_user(
        &services,
        &user,
        |user| user.role = Role::Member.into(),
        "role",
    )
    .await;
    assert_eq!(await_end(&channel).await.code(), Code::PermissionDenied);
    change_user(
        &services,
        &user,
        |user| user.role = Role::Admin.into(),
        "role",
    )
    .await;
    change_user(&services, &user, |user| user.suspended = true, "suspended").await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while await_end(&channel).await.code() != Code::Unauthenticated {}
    })
    .await
    .unwrap();
    change_user(&services, &user, |user| user.suspended = false, "suspended").await;
    list_users(&channel).await.unwrap();
    let mut users = UserServiceClient::new(services.admin());
    let delete = DeleteUserRequest {
        tailnet_id: services.tailnet,
        user_id: user.id,
    };
    users.delete_user(delete).await.unwrap();
    assert_eq!(await_end(&channel).await.code(), Code::Unauthenticated);
    let mut keys = ApiKeyServiceClient::new(services.admin());
    let list = ListApiKeysRequest {
        tailnet_id: services.tailnet,
    };
    assert!(
        keys.list_api_keys(list)
            .await
            .unwrap()
            .into_inner()
            .keys
            .is_empty()
    );
}

async fn clients_get_tokens_for_an_hour_that_end_with_them(services: TestServices) {
    let (client, secret) = services
        .new_client(&["users:read", "auth_keys"], &["tag:ci", "tag:web"])
        .await;
    // The secret itself calls nothing.
    let refused = list_users(&services.with_token(&secret)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let token = services.new_access_token(&secret).await.unwrap();
    let channel = services.with_token(&token);
    list_users(&channel).await.unwrap();

    let mut tokens = TokenServiceClient::new(services.gateway());
    let narrow = IssueAccessTokenRequest {
        client_secret: secret.clone(),
        scopes: vec!["auth_keys:read".to_owned()],
        tags: vec!["tag:ci".to_owned()],
    };
    let issued = tokens
        .issue_access_token(narrow.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (issued.expires_in, &*issued.scopes),
        (3600, &["auth_keys:read".to_owned()][..])
    );
    let refused = list_users(&services.with_token(&issued.access_token)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    for (scopes, tags, word) in [
        (vec!["users".to_owned()], vec![], "has not users"),
        (vec!["all:read".to_owned()], vec![], "has not all:read"),
        (vec![], vec!["tag:prod".to_owned()], "tag:prod"),
    ] {
        let more = IssueAccessTokenRequest {
            scopes,
            tags,
            ..narrow.clone()
        };
        let refused = tokens.issue_access_token(more).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(word), "{refused:?}");
    }

    // Devices by its own tags alone.
    services
        .set_policy(r#"{"tagOwners": {"tag:ci": [], "tag:web": [], "tag:prod": []}}"#)
        .await;
    let mut keys = PreAuthKeyServiceClient::new(channel.clone());
    let key = |tag: &str, user_id| CreatePreAuthKeyRequest {
        key: Some(PreAuthKey {
            tags: vec![tag.to_owned()],
            user_id,
            ..PreAuthKey::default()
        }),
        ..CreatePreAuthKeyRequest::default()
    };
    keys.create_pre_auth_key(key("tag:ci", 0)).await.unwrap();
    assert_denied(
        keys.create_pre_auth_key(key("tag:prod", 0)).await,
        "tag:prod",
    );
    assert_denied(
        keys.create_pre_auth_key(key("tag:ci", services.user.id))
            .await,
        "program",
    );

    let mut clients = OAuthClientServiceClient::new(services.admin());
    let revoke = RevokeOAuthClientRequest {
        tailnet_id: services.tailnet,
        id: client.id.clone(),
    };
    clients.revoke_o_auth_client(revoke).await.unwrap();
    assert_eq!(await_end(&channel).await.code(), Code::Unauthenticated);
    let refused = services.new_access_token(&secret).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

async fn nobody_makes_himself_more_than_he_is(services: TestServices) {
    let tailnet = services.tailnet;
    let it_admin = services
        .new_user(tailnet, "ida@example.com", Role::ItAdmin)
        .await;
    let owner = services
        .new_user(tailnet, "olga@example.com", Role::Owner)
        .await;
    let member = services
        .new_user(tailnet, "mia@example.com", Role::Member)
        .await;
    let (_, secret) = services.new_api_key(&it_admin, &["all"]).await;
    let channel = services.with_token(&secret);
    let mut users = UserServiceClient::new(channel.clone());
    let with_role = |user: &User, role: Role| {
        update_of(
            User {
                role: role.into(),
                ..user.clone()
            },
            "role",
        )
    };
    assert_denied(
        users
            .update_user(with_role(&it_admin, Role::NetworkAdmin))
            .await,
        "own role",
    );
    assert_denied(
        users.update_user(with_role(&member, Role::Admin)).await,
        "it-admin",
    );
    assert_denied(
        users.update_user(with_role(&owner, Role::Member)).await,
        "it-admin",
    );
    users
        .update_user(with_role(&member, Role::Auditor))
        .await
        .unwrap();
    for user_id in [owner.id, it_admin.id] {
        let delete = DeleteUserRequest {
            tailnet_id: tailnet,
            user_id,
        };
        assert_denied(users.delete_user(delete).await, "");
    }
    let suspended = User {
        suspended: true,
        ..owner.clone()
    };
    assert_denied(
        users.update_user(update_of(suspended, "suspended")).await,
        "it-admin",
    );
    let admin = bowline_proto::identity::v1::CreateUserRequest {
        login_name: "eve@example.com".to_owned(),
        role: Role::Admin.into(),
        ..Default::default()
    };
    assert_denied(users.create_user(admin).await, "it-admin");
}

async fn ownership_is_given_away_by_the_owner_alone(services: TestServices) {
    let tailnet = services.tailnet;
    let new_user = async |name: &str, role| services.new_user(tailnet, name, role).await;
    let owner = new_user("olga@example.com", Role::Owner).await;
    let mut denied = Vec::new();
    for (name, role) in [
        ("ida@example.com", Role::ItAdmin),
        ("ada@example.com", Role::Admin),
    ] {
        let user = new_user(name, role).await;
        denied.push(services.new_api_key(&user, &["all"]).await.1);
    }
    let (_, client) = services.new_client(&["all"], &[]).await;
    denied.push(services.new_access_token(&client).await.unwrap());
    let (_, of_owner) = services.new_api_key(&owner, &["users"]).await;
    let transfer = |user_id: u64| TransferOwnershipRequest {
        tailnet_id: tailnet,
        user_id,
    };
    for secret in &denied {
        let mut users = UserServiceClient::new(services.with_token(secret));
        assert_denied(
            users.transfer_ownership(transfer(services.user.id)).await,
            "owner gives the ownership away",
        );
    }
    let mut users = UserServiceClient::new(services.with_token(&of_owner));
    users
        .transfer_ownership(transfer(services.user.id))
        .await
        .unwrap();
    // Not any more, even where the token is known with the role it had a moment ago.
    assert_denied(
        users.transfer_ownership(transfer(owner.id)).await,
        "owner gives the ownership away",
    );
}

async fn new_credentials_do_no_more_than_who_makes_them(services: TestServices) {
    let tailnet = services.tailnet;
    let it_admin = services
        .new_user(tailnet, "ida@example.com", Role::ItAdmin)
        .await;
    let owner = services
        .new_user(tailnet, "olga@example.com", Role::Owner)
        .await;
    let (_, secret) = services.new_api_key(&it_admin, &["all"]).await;
    let channel = services.with_token(&secret);
    let mut clients = OAuthClientServiceClient::new(channel.clone());
    let client = |scope: &str| CreateOAuthClientRequest {
        scopes: vec![scope.to_owned()],
        ..CreateOAuthClientRequest::default()
    };
    assert_denied(
        clients.create_o_auth_client(client("policy_file")).await,
        "policy_file",
    );
    assert_denied(clients.create_o_auth_client(client("all")).await, "all");
    clients.create_o_auth_client(client("users")).await.unwrap();
    let mut keys = ApiKeyServiceClient::new(channel.clone());
    let of_owner = CreateApiKeyRequest {
        user_id: owner.id,
        ..CreateApiKeyRequest::default()
    };
    assert_denied(keys.create_api_key(of_owner).await, "own user");
    let own = keys
        .create_api_key(CreateApiKeyRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(own.key.unwrap().user_id, it_admin.id);

    // Who has a SCIM token ends everybody but the owner.
    let connection = Connection {
        tailnet_id: tailnet,
        name: "Corp".to_owned(),
        provider: Some(Provider::Oidc(OidcProvider {
            issuer: "https://login.example.com".to_owned(),
            client_id: "bowline".to_owned(),
            ..OidcProvider::default()
        })),
        ..Connection::default()
    };
    let request = CreateConnectionRequest {
        connection: Some(connection),
        ..CreateConnectionRequest::default()
    };
    let mut connections = ConnectionServiceClient::new(services.admin());
    let made = connections.create_connection(request).await.unwrap();
    let request = CreateScimTokenRequest {
        connection_id: made.into_inner().connection.unwrap().id,
        ..CreateScimTokenRequest::default()
    };
    let mut tokens = ScimTokenServiceClient::new(channel);
    assert_denied(tokens.create_scim_token(request.clone()).await, "admin");
    let (_, secret) = services.new_api_key(&owner, &["all"]).await;
    let mut tokens = ScimTokenServiceClient::new(services.with_token(&secret));
    tokens.create_scim_token(request).await.unwrap();

    // A token for less does not make one for more.
    let (_, narrow) = services.new_api_key(&owner, &["api_access_tokens"]).await;
    let mut keys = ApiKeyServiceClient::new(services.with_token(&narrow));
    assert_denied(
        keys.create_api_key(CreateApiKeyRequest::default()).await,
        "needs all",
    );
}

async fn it_admins_give_the_tags_that_are_theirs(services: TestServices) {
    let it_admin = services
        .new_user(services.tailnet, "ida@example.com", Role::ItAdmin)
        .await;
    services
        .new_user(services.tailnet, "olga@example.com", Role::Owner)
        .await;
    let (_, secret) = services.new_api_key(&it_admin, &["all"]).await;
    let channel = services.with_token(&secret);
    services
        .set_policy(
            r#"{"tagOwners": {"tag:own": ["ida@example.com"], "tag:prod": ["olga@example.com"]}}"#,
        )
        .await;
    let mut keys = PreAuthKeyServiceClient::new(channel);
    let key = |tag: &str| CreatePreAuthKeyRequest {
        key: Some(PreAuthKey {
            tags: vec![tag.to_owned()],
            ..PreAuthKey::default()
        }),
        ..CreatePreAuthKeyRequest::default()
    };
    keys.create_pre_auth_key(key("tag:own")).await.unwrap();
    let refused = keys.create_pre_auth_key(key("tag:prod")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let says = "ask an administrator to name you under tagOwners";
    assert!(refused.message().contains(says), "{refused}");
}

async fn members_see_and_rename_their_own_devices(services: TestServices) {
    let member = services
        .new_user(services.tailnet, "mia@example.com", Role::Member)
        .await;
    let own = services
        .new_key(PreAuthKey {
            tailnet_id: services.tailnet,
            user_id: member.id,
            ..PreAuthKey::default()
        })
        .await;
    let mine = services.register_node(register_request(1, &own)).await;
    let other = services.new_user_key(false).await;
    let other = services.register_node(register_request(2, &other)).await;
    let (_, secret) = services.new_api_key(&member, &["all"]).await;
    let mut nodes = NodeServiceClient::new(services.with_token(&secret));
    let listed = nodes
        .list_nodes(ListNodesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .nodes;
    let ids: Vec<_> = listed
        .iter()
        .map(|listed| listed.node.as_ref().unwrap().id)
        .collect();
    assert_eq!(ids, [mine.id]);
    let rename = |node_id| RenameNodeRequest {
        node_id,
        name: "mine".to_owned(),
        ..RenameNodeRequest::default()
    };
    nodes.rename_node(rename(mine.id)).await.unwrap();
    let refused = nodes.rename_node(rename(other.id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let get = GetNodeRequest {
        node_id: other.id,
        ..GetNodeRequest::default()
    };
    assert_eq!(
        nodes.get_node(get).await.unwrap_err().code(),
        Code::NotFound
    );
}

fn register_request(number: u8, key: &str) -> bowline_proto::key_registry::v1::RegisterRequest {
    bowline_proto::key_registry::v1::RegisterRequest {
        machine_key: vec![number; 32],
        node_key: vec![number + 100; 32],
        pre_auth_key: key.to_owned(),
        hostname: format!("host-{number}"),
        ..Default::default()
    }
}

async fn tokens_are_taken_from_gateways_alone(services: TestServices) {
    let by = services
        .new_user(services.tailnet, "ada@example.com", Role::Admin)
        .await;
    let (_, secret) = services.new_api_key(&by, &["all"]).await;
    // Who is no gateway passes nothing on, and the gateway's own certificate grants no administrative call.
    let mut as_operator = tonic::Request::new(ListUsersRequest {
        tailnet_id: services.tailnet,
        ..ListUsersRequest::default()
    });
    let value = format!("Bearer {secret}").parse().unwrap();
    as_operator.metadata_mut().insert("authorization", value);
    let refused = UserServiceClient::new(services.admin())
        .list_users(as_operator)
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let plain = ListUsersRequest {
        tailnet_id: services.tailnet,
        ..ListUsersRequest::default()
    };
    let refused = UserServiceClient::new(services.gateway())
        .list_users(plain)
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    // What a gateway may do, whose token it passes on may not.
    let mut logins = LoginServiceClient::new(services.with_token(&secret));
    let refused = logins
        .approve_login(ApproveLoginRequest {
            tailnet_id: 99,
            ..Default::default()
        })
        .await;
    assert_eq!(
        refused.unwrap_err().message(),
        "the token is for another tailnet"
    );
    let mut tokens = TokenServiceClient::new(services.with_token(&secret));
    let refused = tokens
        .issue_access_token(IssueAccessTokenRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let mut identity = IdentityServiceClient::new(services.with_token(&secret));
    let own = identity
        .resolve_tailnet(ResolveTailnetRequest::default())
        .await
        .unwrap();
    assert_eq!(own.into_inner().tailnet.unwrap().name, "home");
    let of_registry = UserServiceClient::new(services.service(ServiceName::KeyRegistry));
    let refused = of_registry
        .clone()
        .list_users(ListUsersRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_in_time() {
    let clock = Arc::new(ManualClock::new(chrono::Utc::now()));
    let shared: SharedClock = Arc::clone(&clock) as SharedClock;
    let database = TestDatabase::sqlite().expect("a directory for SQLite");
    let services = TestServices::start_with_clock(database, shared).await;
    let (_, key) = services.new_api_key(&services.user, &["all"]).await;
    change_user(
        &services,
        &services.user,
        |user| user.role = Role::Admin.into(),
        "role",
    )
    .await;
    let (_, secret) = services.new_client(&["users:read"], &[]).await;
    let token = services.new_access_token(&secret).await.unwrap();
    let (key, token) = (services.with_token(&key), services.with_token(&token));
    list_users(&key).await.unwrap();
    list_users(&token).await.unwrap();
    clock.advance(chrono::TimeDelta::hours(1));
    assert_eq!(await_end(&token).await.code(), Code::Unauthenticated);
    list_users(&key).await.unwrap();
    clock.advance(chrono::TimeDelta::days(90));
    assert_eq!(await_end(&key).await.code(), Code::Unauthenticated);
}
