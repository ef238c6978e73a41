//! Tokens.

use bowline_proto::identity::v1::{
    DeleteConnectionRequest, ListScimTokensRequest, RevokeScimTokenRequest,
};
use bowline_test_servers::on_both;
use tonic::Code;

use super::*;

on_both!(TestIdentity::start =>
    token_sees_its_own_tailnet_alone,
    revoked_token_does_nothing_any_more,
    connection_takes_its_tokens_along_and_keeps_people_out,
    local_connection_has_no_token,
);

async fn token_sees_its_own_tailnet_alone(identity: TestIdentity) {
    let home = TestProvider::start(&identity, "home").await;
    let work = TestProvider::start(&identity, "work").await;
    let amira = home.create_user("amira@home.example.com").await;
    let crew = home.create_group("crew", &[&amira]).await;
    assert!(work.find_names("userName pr").await.unwrap().is_empty());
    for (of, id) in [(USER, &amira["id"]), (GROUP, &crew["id"])] {
        assert_refused(work.get(of, id).await, Code::NotFound, "there is no such");
        assert_refused(
            work.delete(of, id).await,
            Code::NotFound,
            "there is no such",
        );
    }
    let foreign = json!([{ "op": "add", "path": "members", "value": [{ "value": amira["id"] }] }]);
    let own = work.create_group("crew", &[]).await;
    assert_reason(
        work.patch(GROUP, &own["id"], foreign).await,
        "SCIM_INVALID_VALUE",
    );
}

async fn revoked_token_does_nothing_any_more(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let mut tokens = ScimTokenServiceClient::new(identity.admin());
    let list = ListScimTokensRequest {
        tailnet_id: provider.home.id,
    };
    provider.create_user("amira@home.example.com").await;
    let listed = tokens
        .list_scim_tokens(list)
        .await
        .unwrap()
        .into_inner()
        .tokens;
    assert_eq!((listed.len(), &listed[0].id), (1, &provider.token.id));
    assert!(listed[0].last_used_at.is_some() && !format!("{listed:?}").contains(&provider.secret));
    let revoke = RevokeScimTokenRequest {
        tailnet_id: provider.home.id,
        id: provider.token.id.clone(),
    };
    for _ in 0..2 {
        let revoked = tokens.revoke_scim_token(revoke.clone()).await.unwrap();
        assert!(revoked.into_inner().token.unwrap().revoked_at.is_some());
    }
    assert_refused(
        provider.find_names("").await,
        Code::Unauthenticated,
        "no SCIM token",
    );
    // Neither does any other text.
    let with = |secret: &str| TestProvider {
        secret: secret.to_owned(),
        home: provider.home.clone(),
        connection: provider.connection.clone(),
        token: provider.token.clone(),
        identity: &identity,
    };
    for secret in ["", "x", &provider.secret.replace("-scim-", "-api-")] {
        let answer = with(secret).find_names("").await;
        assert_refused(answer, Code::Unauthenticated, "no SCIM token");
    }
}

async fn connection_takes_its_tokens_along_and_keeps_people_out(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let made = provider.create_user("amira@home.example.com").await;
    provider.create_group("crew", &[&made]).await;
    provider
        .patch(USER, &made["id"], deactivate())
        .await
        .unwrap();
    let request = DeleteConnectionRequest {
        tailnet_id: provider.home.id,
        connection_id: provider.connection.id,
    };
    let mut connections = ConnectionServiceClient::new(identity.admin());
    connections.delete_connection(request).await.unwrap();
    assert_refused(
        provider.find_names("").await,
        Code::Unauthenticated,
        "no SCIM token",
    );
    let user = provider.user(&made["id"]).await.unwrap();
    assert!(user.suspended && user.groups.is_empty(), "{user:?}");
    provider.set_suspended(&made["id"], false).await.unwrap();
}

async fn local_connection_has_no_token(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let request = CreateConnectionRequest {
        connection: Some(Connection {
            tailnet_id: home.id,
            name: "a passkey".to_owned(),
            provider: Some(Provider::Local(
                bowline_proto::identity::v1::LocalProvider {},
            )),
            ..Connection::default()
        }),
        ..CreateConnectionRequest::default()
    };
    let mut connections = ConnectionServiceClient::new(identity.admin());
    let made = connections.create_connection(request).await.unwrap();
    let local = made.into_inner().connection.unwrap();
    let refused = create_token(identity.admin(), &local).await;
    assert_refused(refused, Code::FailedPrecondition, "invited");
}
