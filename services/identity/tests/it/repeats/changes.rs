//! Every change of an administrator has the same outcome when it is asked for twice.

use bowline_proto::identity::v1::{
    AcceptInvitationRequest, AddGroupMemberRequest, AddGroupMemberResponse, ApiKey,
    ApproveLoginRequest, ApproveLoginResponse, CreateApiKeyRequest, CreateApiKeyResponse,
    CreateGroupRequest, CreateGroupResponse, CreateInvitationRequest, CreateInvitationResponse,
    CreateOAuthClientRequest, CreateOAuthClientResponse, CreateTailnetRequest,
    CreateTailnetResponse, CreateUserRequest, CreateUserResponse, CreateWebhookRequest,
    CreateWebhookResponse, DeleteGroupRequest, DeleteGroupResponse, DeleteTailnetRequest,
    DeleteTailnetResponse, DeleteUserRequest, DeleteUserResponse, DeleteWebhookRequest,
    DeleteWebhookResponse, DenyLoginRequest, DenyLoginResponse, Device, DnsChange,
    EndSessionRequest, EndSessionResponse, Group, Invitation, LocalProvider, Login,
    MergeUsersRequest, MergeUsersResponse, RemoveGroupMemberRequest, RemoveGroupMemberResponse,
    ReplayUndeliveredEventsRequest, ReplayUndeliveredEventsResponse, RevokeApiKeyRequest,
    RevokeApiKeyResponse, RevokeInvitationRequest, RevokeInvitationResponse,
    RevokeOAuthClientRequest, RevokeOAuthClientResponse, RotateWebhookSecretRequest,
    RotateWebhookSecretResponse, StartLoginRequest, Tailnet, TestWebhookRequest,
    TestWebhookResponse, TransferOwnershipRequest, TransferOwnershipResponse, UpdateDnsRequest,
    UpdateDnsResponse, UpdateGroupRequest, UpdateGroupResponse, UpdateTailnetRequest,
    UpdateTailnetResponse, UpdateUserRequest, UpdateUserResponse, UpdateWebhookRequest,
    UpdateWebhookResponse, User, connection::Provider, dns_change::Change,
    invitation_service_client::InvitationServiceClient, login_service_client::LoginServiceClient,
};
use bowline_service_kit::ServiceName;
use bowline_test_support::{RepeatedCalls, TestServices, on_both};
use prost_types::FieldMask;

use super::connections::{change_connections, create_connection};

on_both!(TestServices::start => each_change_is_done_once);

async fn each_change_is_done_once(services: TestServices) {
    let mut calls = RepeatedCalls::new(&services).await;
    change_tailnets(&services, &mut calls).await;
    change_users(&services, &mut calls).await;
    change_groups(&services, &mut calls).await;
    decide_logins(&services, &mut calls).await;
    change_connections(&services, &mut calls).await;
    change_credentials(&services, &mut calls).await;
    change_sessions(&services, &mut calls).await;
    change_webhooks(&services, &mut calls).await;
    calls.assert_all_asked("identity");
}

pub(super) fn mask(field: &str) -> Option<FieldMask> {
    Some(FieldMask {
        paths: vec![field.to_owned()],
    })
}

async fn change_tailnets(services: &TestServices, calls: &mut RepeatedCalls) {
    let request = CreateTailnetRequest {
        name: "two".to_owned(),
        settings: None,
    };
    let rpc = "identity.v1.TailnetService/CreateTailnet";
    let made: CreateTailnetResponse = calls.ask(rpc, request).await;
    let tailnet_id = made.tailnet.unwrap().id;
    let request = UpdateTailnetRequest {
        tailnet: Some(Tailnet {
            id: services.tailnet,
            display_name: "Home".to_owned(),
            ..Tailnet::default()
        }),
        update_mask: mask("display_name"),
    };
    let rpc = "identity.v1.TailnetService/UpdateTailnet";
    calls.ask::<_, UpdateTailnetResponse>(rpc, request).await;
    let request = UpdateDnsRequest {
        tailnet_id: services.tailnet,
        changes: vec![DnsChange {
            change: Some(Change::MagicDns(true)),
        }],
    };
    let rpc = "identity.v1.TailnetService/UpdateDns";
    calls.ask::<_, UpdateDnsResponse>(rpc, request).await;
    let rpc = "identity.v1.TailnetService/DeleteTailnet";
    let request = DeleteTailnetRequest { tailnet_id };
    calls.ask::<_, DeleteTailnetResponse>(rpc, request).await;
}

async fn change_users(services: &TestServices, calls: &mut RepeatedCalls) {
    let tailnet_id = services.tailnet;
    let mut ids = Vec::new();
    for name in ["sam@example.com", "sam@example.org"] {
        let request = CreateUserRequest {
            tailnet_id,
            login_name: name.to_owned(),
            ..CreateUserRequest::default()
        };
        let rpc = "identity.v1.UserService/CreateUser";
        let made: CreateUserResponse = calls.ask(rpc, request).await;
        ids.push(made.user.unwrap().id);
    }
    let request = UpdateUserRequest {
        user: Some(User {
            id: ids[0],
            tailnet_id,
            display_name: "Sam".to_owned(),
            ..User::default()
        }),
        update_mask: mask("display_name"),
    };
    let rpc = "identity.v1.UserService/UpdateUser";
    calls.ask::<_, UpdateUserResponse>(rpc, request).await;
    let request = TransferOwnershipRequest {
        tailnet_id,
        user_id: services.user.id,
    };
    let rpc = "identity.v1.UserService/TransferOwnership";
    calls
        .ask::<_, TransferOwnershipResponse>(rpc, request)
        .await;
    let request = MergeUsersRequest {
        tailnet_id,
        from_user_id: ids[1],
        into_user_id: ids[0],
        dry_run: false,
    };
    let rpc = "identity.v1.UserService/MergeUsers";
    calls.ask::<_, MergeUsersResponse>(rpc, request).await;
    let request = DeleteUserRequest {
        tailnet_id,
        user_id: ids[0],
    };
    let rpc = "identity.v1.UserService/DeleteUser";
    calls.ask::<_, DeleteUserResponse>(rpc, request).await;
}

async fn change_groups(services: &TestServices, calls: &mut RepeatedCalls) {
    let (tailnet_id, user_id) = (services.tailnet, services.user.id);
    let request = CreateGroupRequest {
        tailnet_id,
        name: "ops".to_owned(),
    };
    let rpc = "identity.v1.GroupService/CreateGroup";
    let made: CreateGroupResponse = calls.ask(rpc, request).await;
    let group = made.group.unwrap();
    let group_id = group.id;
    let request = UpdateGroupRequest {
        group: Some(Group {
            name: "operations".to_owned(),
            ..group
        }),
        update_mask: mask("name"),
    };
    let rpc = "identity.v1.GroupService/UpdateGroup";
    calls.ask::<_, UpdateGroupResponse>(rpc, request).await;
    let request = AddGroupMemberRequest {
        tailnet_id,
        group_id,
        user_id,
    };
    let rpc = "identity.v1.GroupService/AddGroupMember";
    calls.ask::<_, AddGroupMemberResponse>(rpc, request).await;
    let request = RemoveGroupMemberRequest {
        tailnet_id,
        group_id,
        user_id,
    };
    let rpc = "identity.v1.GroupService/RemoveGroupMember";
    calls
        .ask::<_, RemoveGroupMemberResponse>(rpc, request)
        .await;
    let request = DeleteGroupRequest {
        tailnet_id,
        group_id,
    };
    let rpc = "identity.v1.GroupService/DeleteGroup";
    calls.ask::<_, DeleteGroupResponse>(rpc, request).await;
}

async fn start_login(services: &TestServices, machine: u8) -> Login {
    let request = StartLoginRequest {
        machine_key: vec![machine; 32],
        node_key: vec![machine; 32],
        device: Some(Device::default()),
    };
    let mut logins = LoginServiceClient::new(services.service(ServiceName::KeyRegistry));
    let started = logins.start_login(request).await.unwrap();
    started.into_inner().login.unwrap()
}

async fn decide_logins(services: &TestServices, calls: &mut RepeatedCalls) {
    let request = ApproveLoginRequest {
        login_id: start_login(services, 1).await.id,
        tailnet_id: services.tailnet,
        user_id: services.user.id,
    };
    let rpc = "identity.v1.LoginService/ApproveLogin";
    calls.ask::<_, ApproveLoginResponse>(rpc, request).await;
    let request = DenyLoginRequest {
        login_id: start_login(services, 2).await.id,
        tailnet_id: services.tailnet,
        reason: "unknown".to_owned(),
    };
    let rpc = "identity.v1.LoginService/DenyLogin";
    calls.ask::<_, DenyLoginResponse>(rpc, request).await;
}

async fn change_credentials(services: &TestServices, calls: &mut RepeatedCalls) {
    let tailnet_id = services.tailnet;
    let request = CreateApiKeyRequest {
        tailnet_id,
        user_id: services.user.id,
        ..CreateApiKeyRequest::default()
    };
    let rpc = "identity.v1.ApiKeyService/CreateApiKey";
    let made: CreateApiKeyResponse = calls.ask(rpc, request).await;
    let ApiKey { id, .. } = made.key.unwrap();
    let rpc = "identity.v1.ApiKeyService/RevokeApiKey";
    let request = RevokeApiKeyRequest { tailnet_id, id };
    calls.ask::<_, RevokeApiKeyResponse>(rpc, request).await;
    let request = CreateOAuthClientRequest {
        tailnet_id,
        scopes: vec!["dns".to_owned()],
        ..CreateOAuthClientRequest::default()
    };
    let rpc = "identity.v1.OAuthClientService/CreateOAuthClient";
    let made: CreateOAuthClientResponse = calls.ask(rpc, request).await;
    let id = made.client.unwrap().id;
    let rpc = "identity.v1.OAuthClientService/RevokeOAuthClient";
    let request = RevokeOAuthClientRequest { tailnet_id, id };
    calls
        .ask::<_, RevokeOAuthClientResponse>(rpc, request)
        .await;
}

async fn change_sessions(services: &TestServices, calls: &mut RepeatedCalls) {
    let tailnet_id = services.tailnet;
    create_connection(services, calls, "local", Provider::Local(LocalProvider {})).await;
    let mut secrets = Vec::new();
    for name in ["new@example.com", "newer@example.com"] {
        let request = CreateInvitationRequest {
            invitation: Some(Invitation {
                tailnet_id,
                login_name: name.to_owned(),
                ..Invitation::default()
            }),
            lifetime: None,
        };
        let rpc = "identity.v1.InvitationService/CreateInvitation";
        let made: CreateInvitationResponse = calls.ask(rpc, request).await;
        secrets.push((made.invitation.unwrap().id, made.secret));
    }
    let (invitation_id, _) = secrets.pop().unwrap();
    let request = RevokeInvitationRequest {
        tailnet_id,
        invitation_id,
    };
    let rpc = "identity.v1.InvitationService/RevokeInvitation";
    calls.ask::<_, RevokeInvitationResponse>(rpc, request).await;
    let (_, secret) = secrets.pop().unwrap();
    let mut invitations = InvitationServiceClient::new(services.gateway());
    let request = AcceptInvitationRequest {
        secret,
        ..AcceptInvitationRequest::default()
    };
    let opened = invitations.accept_invitation(request).await.unwrap();
    let request = EndSessionRequest {
        tailnet_id,
        session_id: opened.into_inner().session.unwrap().id,
    };
    let rpc = "identity.v1.SessionService/EndSession";
    calls.ask::<_, EndSessionResponse>(rpc, request).await;
}

async fn change_webhooks(services: &TestServices, calls: &mut RepeatedCalls) {
    let tailnet_id = services.tailnet;
    let request = CreateWebhookRequest {
        tailnet_id,
        url: "https://hooks.example.com/".to_owned(),
        subscriptions: vec!["nodeCreated".to_owned()],
        ..CreateWebhookRequest::default()
    };
    let rpc = "identity.v1.WebhookService/CreateWebhook";
    let made: CreateWebhookResponse = calls.ask(rpc, request).await;
    let webhook_id = made.webhook.unwrap().id;
    let request = UpdateWebhookRequest {
        tailnet_id,
        webhook_id,
        subscriptions: vec!["userCreated".to_owned()],
    };
    let rpc = "identity.v1.WebhookService/UpdateWebhook";
    calls.ask::<_, UpdateWebhookResponse>(rpc, request).await;
    let request = TestWebhookRequest {
        tailnet_id,
        webhook_id,
    };
    let rpc = "identity.v1.WebhookService/TestWebhook";
    calls.ask::<_, TestWebhookResponse>(rpc, request).await;
    let request = RotateWebhookSecretRequest {
        tailnet_id,
        webhook_id,
    };
    let rpc = "identity.v1.WebhookService/RotateWebhookSecret";
    calls
        .ask::<_, RotateWebhookSecretResponse>(rpc, request)
        .await;
    let request = ReplayUndeliveredEventsRequest {
        tailnet_id,
        webhook_id,
        event_id: String::new(),
    };
    let rpc = "identity.v1.WebhookService/ReplayUndeliveredEvents";
    calls
        .ask::<_, ReplayUndeliveredEventsResponse>(rpc, request)
        .await;
    let request = DeleteWebhookRequest {
        tailnet_id,
        webhook_id,
    };
    let rpc = "identity.v1.WebhookService/DeleteWebhook";
    calls.ask::<_, DeleteWebhookResponse>(rpc, request).await;
}
