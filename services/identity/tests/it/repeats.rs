//! Calls with idempotency keys are done once.

mod changes;
mod connections;

use bowline_proto::identity::v1::{
    CreateApiKeyRequest, CreateApiKeyResponse, CreateGroupRequest, CreateGroupResponse,
    CreateTailnetRequest, CreateTailnetResponse, DeleteTailnetRequest, DeleteUserRequest,
    ListApiKeysRequest, ListGroupsRequest, ListTailnetsRequest, Role,
    api_key_service_client::ApiKeyServiceClient, group_service_client::GroupServiceClient,
    tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
};
use bowline_service_kit::status_reason;
use bowline_test_support::{
    TestServices, assert_nowhere, call_with_key, new_idempotency_key, on_both,
};
use futures_util::future::join_all;
use tonic::Code;

const CREATE_API_KEY: &str = "/bowline.identity.v1.ApiKeyService/CreateApiKey";
const CREATE_GROUP: &str = "/bowline.identity.v1.GroupService/CreateGroup";
const CREATE_TAILNET: &str = "/bowline.identity.v1.TailnetService/CreateTailnet";

on_both!(TestServices::start =>
    a_key_is_for_one_request,
    a_key_is_its_callers_own,
    texts_that_are_no_keys_are_refused,
    a_refused_call_is_tried_again,
    calls_at_once_on_two_replicas_make_one_thing,
    secrets_of_answers_are_in_no_database
);

fn group(services: &TestServices, name: &str) -> CreateGroupRequest {
    CreateGroupRequest {
        tailnet_id: services.tailnet,
        name: name.to_owned(),
    }
}

async fn group_names(services: &TestServices) -> Vec<String> {
    let request = ListGroupsRequest {
        tailnet_id: services.tailnet,
    };
    let mut client = GroupServiceClient::new(services.admin());
    let listed = client.list_groups(request).await.unwrap().into_inner();
    let groups = listed.groups.into_iter();
    groups.map(|listed| listed.group.unwrap().name).collect()
}

async fn a_key_is_for_one_request(services: TestServices) {
    let key = new_idempotency_key();
    let ask = |name| call_with_key(services.admin(), CREATE_GROUP, group(&services, name), &key);
    let made: CreateGroupResponse = ask("ops").await.unwrap();
    let other: Result<CreateGroupResponse, _> = ask("dev").await;
    let refused = other.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let reason = status_reason(&refused);
    assert_eq!(reason.as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    // Neither is a call of another RPC with the same bytes.
    let path = "/bowline.identity.v1.GroupService/DeleteGroup";
    let other: Result<(), _> =
        call_with_key(services.admin(), path, group(&services, "ops"), &key).await;
    assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);
    let again: CreateGroupResponse = ask("ops").await.unwrap();
    assert_eq!(again, made);
    assert_eq!(group_names(&services).await, ["ops"]);
}

async fn a_key_is_its_callers_own(services: TestServices) {
    let owner = services
        .new_user(services.tailnet, "owner@example.com", Role::Owner)
        .await;
    let (_, one) = services.new_api_key(&owner, &["all"]).await;
    let (_, other) = services.new_api_key(&owner, &["all"]).await;
    let elsewhere = services.new_tailnet("elsewhere").await;
    let (_, foreign) = services.new_api_key(&elsewhere, &["all"]).await;
    let key = new_idempotency_key();
    let wanted = CreateApiKeyRequest {
        days: 1,
        ..CreateApiKeyRequest::default()
    };
    let mut secrets = Vec::new();
    for token in [&one, &other, &one] {
        let channel = services.with_token(token);
        let made = call_with_key(channel, CREATE_API_KEY, wanted.clone(), &key).await;
        let made: CreateApiKeyResponse = made.unwrap();
        secrets.push(made.secret);
    }
    assert_ne!(secrets[0], secrets[1], "another caller is shown the answer");
    assert_eq!(secrets[0], secrets[2]);
    // Whoever may not make the call is told nothing either.
    let channel = services.with_token(&foreign);
    let refused = call_with_key(channel, CREATE_API_KEY, wanted.clone(), &key).await;
    let refused: Result<CreateApiKeyResponse, _> = refused;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    // A service calls for nobody: its calls take no keys.
    let (channel, request) = (services.gateway(), group(&services, "ops"));
    let refused: Result<CreateGroupResponse, _> =
        call_with_key(channel, CREATE_GROUP, request, &key).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

async fn texts_that_are_no_keys_are_refused(services: TestServices) {
    let long = "k".repeat(65);
    for key in ["", "0123456789abcde", "0123456789 abcdef", &long] {
        let request = group(&services, "ops");
        let answer = call_with_key(services.admin(), CREATE_GROUP, request, key).await;
        let refused: Result<CreateGroupResponse, _> = answer;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{key}");
        assert!(refused.message().contains("16 to 64"), "{refused}");
    }
    assert_eq!(group_names(&services).await, Vec::<String>::new());
    // What only reads heeds none.
    let path = "/bowline.identity.v1.GroupService/ListGroups";
    let request = ListGroupsRequest {
        tailnet_id: services.tailnet,
    };
    let answer: Result<(), _> = call_with_key(services.admin(), path, request, "short").await;
    answer.unwrap();
}

async fn a_refused_call_is_tried_again(services: TestServices) {
    let key = new_idempotency_key();
    let ask = || call_with_key(services.admin(), CREATE_TAILNET, tailnet("two"), &key);
    let first = services.new_tailnet("two").await;
    let refused: Result<CreateTailnetResponse, _> = ask().await;
    assert_eq!(refused.unwrap_err().code(), Code::AlreadyExists);
    let mut client = TailnetServiceClient::new(services.admin());
    let mut users = UserServiceClient::new(services.admin());
    let request = DeleteUserRequest {
        tailnet_id: first.tailnet_id,
        user_id: first.id,
    };
    users.delete_user(request).await.unwrap();
    let request = DeleteTailnetRequest {
        tailnet_id: first.tailnet_id,
    };
    client.delete_tailnet(request).await.unwrap();
    let made: CreateTailnetResponse = ask().await.unwrap();
    let again: CreateTailnetResponse = ask().await.unwrap();
    assert_eq!(made, again);
}

fn tailnet(name: &str) -> CreateTailnetRequest {
    CreateTailnetRequest {
        name: name.to_owned(),
        settings: None,
    }
}

/// A tailnet has its number before its change begins: calls with one key are changes of different tailnets then.
async fn calls_at_once_on_two_replicas_make_one_thing(services: TestServices) {
    let other = TestServices::start(services.database.clone()).await;
    let (key_of_tailnet, key_of_key) = (new_idempotency_key(), new_idempotency_key());
    let wanted = CreateApiKeyRequest {
        tailnet_id: services.tailnet,
        user_id: services.user.id,
        ..CreateApiKeyRequest::default()
    };
    let calls = (0..64).map(|number| {
        let channel = match number % 2 {
            0 => services.admin(),
            _ => other.admin(),
        };
        let (of_tailnet, of_key) = (key_of_tailnet.clone(), key_of_key.clone());
        let wanted = wanted.clone();
        async move {
            let made = call_with_key(channel.clone(), CREATE_TAILNET, tailnet("two"), &of_tailnet);
            let made: CreateTailnetResponse = made.await.unwrap();
            let key = call_with_key(channel, CREATE_API_KEY, wanted, &of_key).await;
            let key: CreateApiKeyResponse = key.unwrap();
            (made, key)
        }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let mut keys = ApiKeyServiceClient::new(services.admin());
    let request = ListApiKeysRequest {
        tailnet_id: services.tailnet,
    };
    let keys = keys.list_api_keys(request).await.unwrap().into_inner().keys;
    assert_eq!(keys.len(), 1);
    let mut tailnets = TailnetServiceClient::new(services.admin());
    let listed = tailnets
        .list_tailnets(ListTailnetsRequest {})
        .await
        .unwrap();
    assert_eq!(listed.into_inner().tailnets.len(), 2);
}

async fn secrets_of_answers_are_in_no_database(services: TestServices) {
    let wanted = CreateApiKeyRequest {
        tailnet_id: services.tailnet,
        user_id: services.user.id,
        ..CreateApiKeyRequest::default()
    };
    let key = new_idempotency_key();
    let made = call_with_key(services.admin(), CREATE_API_KEY, wanted, &key).await;
    let made: CreateApiKeyResponse = made.unwrap();
    assert_nowhere(&services, &made.secret).await;
    assert_nowhere(&services, &key).await;
}
