//! Sessions, and the links that open them.

use bowline_proto::identity::v1::condition_service_client::ConditionServiceClient;
use bowline_proto::identity::v1::invitation_service_client::InvitationServiceClient;
use bowline_proto::identity::v1::session_service_client::SessionServiceClient;
use bowline_proto::identity::v1::token_service_client::TokenServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, AddConditionRequest,
    AuthenticateTokenRequest, BrowserDescription, CloseSessionRequest, Condition, ConditionScope,
    CreateInvitationRequest, EndSessionRequest, GetInvitationRequest, GetSessionRequest,
    GetSessionResponse, Invitation, ListInvitationsRequest, ListSessionsRequest,
    RevokeInvitationRequest, Role, Session, UpdateUserRequest, User,
};
use bowline_service_kit::{Caller, GrpcChannel, ServiceName};
use bowline_test_servers::on_both;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::identity::{TestIdentity, channel};

on_both!(TestIdentity::start =>
    link_lets_one_person_in_once,
    link_of_a_user_who_is_there_makes_no_other,
    link_that_was_revoked_lets_nobody_in,
    session_works_until_it_is_ended,
    session_ends_with_the_standing_of_its_user,
    session_is_proven_by_its_whole_secret,
    user_has_twenty_sessions_at_most,
    link_of_an_administrator_does_no_more_than_the_conditions_let_it,
);

fn gateway(identity: &TestIdentity) -> GrpcChannel {
    channel(
        identity.identity(),
        Caller::Service(ServiceName::NetmapGateway),
    )
}

async fn invite(
    identity: &TestIdentity,
    tailnet_id: u64,
    login_name: &str,
) -> (Invitation, String) {
    let request = CreateInvitationRequest {
        invitation: Some(Invitation {
            tailnet_id,
            login_name: login_name.to_owned(),
            role: Role::ItAdmin.into(),
            ..Invitation::default()
        }),
        lifetime: None,
    };
    let mut client = InvitationServiceClient::new(identity.admin());
    let made = client
        .create_invitation(request)
        .await
        .unwrap()
        .into_inner();
    (made.invitation.unwrap(), made.secret)
}

async fn accept(identity: &TestIdentity, secret: &str) -> Result<AcceptInvitationResponse, Status> {
    let request = AcceptInvitationRequest {
        secret: secret.to_owned(),
        description: Some(BrowserDescription {
            source_address: "192.0.2.7".to_owned(),
            user_agent: "a browser\u{1b}[1m".to_owned(),
        }),
    };
    let mut client = InvitationServiceClient::new(gateway(identity));
    Ok(client.accept_invitation(request).await?.into_inner())
}

async fn find(identity: &TestIdentity, secret: &str) -> Result<GetSessionResponse, Status> {
    let request = GetSessionRequest {
        secret: secret.to_owned(),
    };
    let mut client = SessionServiceClient::new(gateway(identity));
    Ok(client.get_session(request).await?.into_inner())
}

async fn list(identity: &TestIdentity, tailnet_id: u64) -> Vec<Session> {
    let request = ListSessionsRequest {
        tailnet_id,
        user_id: 0,
    };
    let mut client = SessionServiceClient::new(identity.admin());
    client
        .list_sessions(request)
        .await
        .unwrap()
        .into_inner()
        .sessions
}

pub(crate) async fn sign_in(identity: &TestIdentity, tailnet_id: u64, login_name: &str) -> String {
    let (_, secret) = invite(identity, tailnet_id, login_name).await;
    accept(identity, &secret).await.unwrap().secret
}

async fn set_suspended(identity: &TestIdentity, user: User, suspended: bool) {
    let request = UpdateUserRequest {
        user: Some(User { suspended, ..user }),
        update_mask: Some(FieldMask {
            paths: vec!["suspended".to_owned()],
        }),
    };
    let mut client = UserServiceClient::new(identity.admin());
    client.update_user(request).await.unwrap();
}

async fn link_lets_one_person_in_once(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let (invitation, secret) = invite(&identity, home.id, "kim@example.com").await;
    let mut gateway_client = InvitationServiceClient::new(gateway(&identity));
    for _ in 0..2 {
        let request = GetInvitationRequest {
            secret: secret.clone(),
        };
        let shown = gateway_client
            .get_invitation(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            shown.invitation.unwrap().id,
            invitation.id,
            "looking uses nothing up"
        );
        assert_eq!(shown.tailnet_name, "home");
    }
    let (first, second) = tokio::join!(accept(&identity, &secret), accept(&identity, &secret));
    let mut outcomes = [first, second];
    outcomes.sort_by_key(Result::is_err);
    let [Ok(opened), Err(refused)] = outcomes else {
        panic!("one of two gets in")
    };
    assert_eq!(refused.code(), Code::NotFound);
    let found = find(&identity, &opened.secret).await.unwrap();
    let user = found.user.unwrap();
    assert_eq!(user.login_name, "kim@example.com");
    assert_eq!(user.role(), Role::ItAdmin);
    let session = found.session.unwrap();
    assert_eq!(session.source_address, "192.0.2.7");
    assert_eq!(session.user_agent, "a browser[1m", "no control characters");
    for action in ["invitation.create", "invitation.accept", "session.open"] {
        assert_eq!(identity.audited_details(action).await.len(), 1, "{action}");
    }
}

async fn link_of_a_user_who_is_there_makes_no_other(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let kim = identity.new_user(home.id, "Kim@example.com").await.unwrap();
    let secret = sign_in(&identity, home.id, "kim@EXAMPLE.com").await;
    let user = find(&identity, &secret).await.unwrap().user.unwrap();
    assert_eq!(
        (user.id, user.role()),
        (kim.id, Role::Member),
        "and keeps the role"
    );
}

async fn link_that_was_revoked_lets_nobody_in(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let work = identity.new_tailnet("work").await;
    let (invitation, secret) = invite(&identity, home.id, "kim@example.com").await;
    let mut client = InvitationServiceClient::new(identity.admin());
    let revoke = |tailnet_id| RevokeInvitationRequest {
        tailnet_id,
        invitation_id: invitation.id.clone(),
    };
    let elsewhere = client.revoke_invitation(revoke(work.id)).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::NotFound, "of another tailnet");
    client.revoke_invitation(revoke(home.id)).await.unwrap();
    assert_eq!(
        accept(&identity, &secret).await.unwrap_err().code(),
        Code::NotFound
    );
    let request = ListInvitationsRequest {
        tailnet_id: home.id,
    };
    let left = client.list_invitations(request).await.unwrap().into_inner();
    assert!(left.invitations.is_empty());
}

async fn session_works_until_it_is_ended(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let work = identity.new_tailnet("work").await;
    let secret = sign_in(&identity, home.id, "kim@example.com").await;
    let other = sign_in(&identity, home.id, "kim@example.com").await;
    assert_eq!(list(&identity, home.id).await.len(), 2);
    let session = find(&identity, &secret).await.unwrap().session.unwrap();
    let mut client = SessionServiceClient::new(identity.admin());
    let end = |tailnet_id| EndSessionRequest {
        tailnet_id,
        session_id: session.id.clone(),
    };
    let elsewhere = client.end_session(end(work.id)).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::NotFound, "of another tailnet");
    client.end_session(end(home.id)).await.unwrap();
    assert_eq!(
        find(&identity, &secret).await.unwrap_err().code(),
        Code::NotFound
    );
    find(&identity, &other).await.unwrap();

    let mut client = SessionServiceClient::new(gateway(&identity));
    for _ in 0..2 {
        let request = CloseSessionRequest {
            secret: other.clone(),
            callback_url: "https://bowline.example.com/login/callback".to_owned(),
        };
        let closed = client.close_session(request).await.unwrap().into_inner();
        assert_eq!(closed.provider_url, "", "no provider has opened it");
    }
    assert!(list(&identity, home.id).await.is_empty());
    assert_eq!(identity.audited_details("session.end").await.len(), 2);
}

async fn session_ends_with_the_standing_of_its_user(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let secret = sign_in(&identity, home.id, "kim@example.com").await;
    let user = find(&identity, &secret).await.unwrap().user.unwrap();
    let (_, waiting) = invite(&identity, home.id, "kim@example.com").await;
    set_suspended(&identity, user.clone(), true).await;
    assert_eq!(
        find(&identity, &secret).await.unwrap_err().code(),
        Code::NotFound
    );
    let refused = accept(&identity, &waiting).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("suspended"), "{refused}");
    set_suspended(&identity, user, false).await;
    assert_eq!(
        find(&identity, &secret).await.unwrap_err().code(),
        Code::NotFound,
        "it does not come back"
    );
    accept(&identity, &waiting).await.unwrap();
}

async fn session_is_proven_by_its_whole_secret(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let secret = sign_in(&identity, home.id, "kim@example.com").await;
    let (_, link) = invite(&identity, home.id, "lou@example.com").await;
    let mut changed = secret.clone();
    changed.pop();
    changed.push(if secret.ends_with('0') { '1' } else { '0' });
    for wrong in [&changed, &link, &secret[..30].to_owned(), &String::new()] {
        assert_eq!(
            find(&identity, wrong).await.unwrap_err().code(),
            Code::NotFound
        );
    }
}

async fn user_has_twenty_sessions_at_most(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let mut secrets = Vec::new();
    for _ in 0..21 {
        secrets.push(sign_in(&identity, home.id, "kim@example.com").await);
    }
    assert_eq!(list(&identity, home.id).await.len(), 20);
    find(&identity, secrets.last().unwrap()).await.unwrap();
}

async fn link_of_an_administrator_does_no_more_than_the_conditions_let_it(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let role = async |secret: &str| {
        let request = AuthenticateTokenRequest {
            token: secret.to_owned(),
        };
        let mut client = TokenServiceClient::new(identity.registry());
        let answer = client.authenticate_token(request).await.unwrap();
        let holder = answer.into_inner().holder.unwrap();
        holder.user.unwrap().role()
    };
    let before = sign_in(&identity, home.id, "kim@example.com").await;
    assert_eq!(role(&before).await, Role::ItAdmin);
    let request = AddConditionRequest {
        condition: Some(Condition {
            tailnet_id: home.id,
            scope: ConditionScope::Administration.into(),
            amr: vec!["mfa".to_owned()],
            ..Condition::default()
        }),
    };
    let mut conditions = ConditionServiceClient::new(identity.admin());
    conditions.add_condition(request).await.unwrap();
    let after = sign_in(&identity, home.id, "kim@example.com").await;
    assert_eq!(role(&after).await, Role::Member);
    let found = find(&identity, &after).await.unwrap();
    assert!(found.session.unwrap().limited);
    assert_eq!(found.user.unwrap().role(), Role::Member);
    assert_eq!(role(&before).await, Role::ItAdmin, "opened before");
}
