//! Logins by an OpenID Connect provider, and what ends with them.

use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, BrowserDescription, CloseSessionRequest, Connection,
    CreateConnectionRequest, DecideLoginAttemptRequest, EndProviderLoginRequest,
    FinishOidcLoginRequest, GetSessionRequest, ListUsersRequest, LoginAttempt, LoginEndEffect,
    MergeUsersRequest, OidcProvider, OpenSessionRequest, Role, Session, StartSessionLoginRequest,
    Tailnet, UpdateUserRequest, User, connection::Provider,
    connection_service_client::ConnectionServiceClient,
    login_attempt_service_client::LoginAttemptServiceClient,
    session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
};
use bowline_service_kit::{Caller, GrpcChannel, ServiceName};
use bowline_test_oidc_provider::{CLIENT_ID, Fault, TestOidcProvider};
use bowline_test_servers::{TestDatabase, on_both};
use prost_types::FieldMask;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::identity::{TestIdentity, channel};

on_both!(TestCorp::start =>
    logout_of_a_session_ends_that_session_alone,
    logout_of_a_person_ends_all_sessions_of_the_connection,
    logout_of_a_session_alone_finds_its_person,
    logout_token_is_taken_once_by_all_replicas,
    logout_token_of_another_connection_ends_nothing,
    logout_suspends_where_the_connection_says_so_until_the_next_login,
    who_is_suspended_by_an_administrator_stays_so,
    owner_is_not_suspended,
    session_of_a_provider_ends_there_too,
    person_of_a_merged_user_is_who_stays,
    request_is_pushed_where_the_provider_requires_it,
);

const CALLBACK: &str = "https://bowline.example.com/login/callback";

/// Identity, with a tailnet whose people log in by a provider.
pub(crate) struct TestCorp {
    pub(crate) identity: TestIdentity,
    pub(crate) provider: TestOidcProvider,
    pub(crate) tailnet: Tailnet,
    pub(crate) connection: Connection,
}

impl TestCorp {
    pub(crate) async fn start(database: TestDatabase) -> Self {
        let identity = TestIdentity::start(database).await;
        Box::pin(Self::start_with(identity)).await
    }

    pub(crate) async fn start_with(identity: TestIdentity) -> Self {
        let provider = TestOidcProvider::start().await;
        let tailnet = identity.new_tailnet("corp").await;
        let mut corp = Self {
            identity,
            provider,
            tailnet,
            connection: Connection::default(),
        };
        corp.connection = corp.connect("Corp", |_| {}).await;
        corp
    }

    /// Makes a connection to the provider.
    pub(crate) async fn connect(
        &self,
        name: &str,
        change: impl FnOnce(&mut OidcProvider),
    ) -> Connection {
        let mut oidc = OidcProvider {
            issuer: self.provider.issuer().to_owned(),
            client_id: CLIENT_ID.to_owned(),
            groups_claim: "groups".to_owned(),
            ..OidcProvider::default()
        };
        change(&mut oidc);
        let request = CreateConnectionRequest {
            connection: Some(Connection {
                tailnet_id: self.tailnet.id,
                name: name.to_owned(),
                domains: vec!["example.com".to_owned()],
                provider: Some(Provider::Oidc(oidc)),
                ..Connection::default()
            }),
            client_secret: "secret".to_owned(),
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.identity.admin());
        let made = client.create_connection(request).await.unwrap();
        made.into_inner().connection.unwrap()
    }

    pub(crate) fn gateway(&self) -> GrpcChannel {
        let gateway = Caller::Service(ServiceName::NetmapGateway);
        channel(self.identity.identity(), gateway)
    }

    pub(crate) fn attempts(&self) -> LoginAttemptServiceClient<GrpcChannel> {
        LoginAttemptServiceClient::new(self.gateway())
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<GrpcChannel> {
        SessionServiceClient::new(self.gateway())
    }

    /// Sends a browser to the provider for a login. Returns where.
    pub(crate) async fn begin(
        &self,
        login_id: &str,
        connection: &Connection,
    ) -> Result<String, Status> {
        let request = BeginLoginAttemptRequest {
            login_id: login_id.to_owned(),
            connection_id: connection.id,
            browser: vec![7; 32],
            callback_url: CALLBACK.to_owned(),
            ..BeginLoginAttemptRequest::default()
        };
        let begun = self.attempts().begin_login_attempt(request).await?;
        Ok(begun.into_inner().redirect_url)
    }

    /// Brings a browser back from the provider.
    pub(crate) async fn finish(&self, state: &str) -> Result<LoginAttempt, Status> {
        let request = FinishOidcLoginRequest {
            state: state.to_owned(),
            browser: vec![7; 32],
            code: "code".to_owned(),
            ..FinishOidcLoginRequest::default()
        };
        self.finish_with(request).await
    }

    /// Brings a browser back with whatever it has.
    pub(crate) async fn finish_with(
        &self,
        request: FinishOidcLoginRequest,
    ) -> Result<LoginAttempt, Status> {
        let finished = self.attempts().finish_oidc_login(request).await?;
        Ok(finished.into_inner().attempt.unwrap())
    }

    /// Lets the person log in to a login, as far as the provider and the conditions go.
    pub(crate) async fn prove(
        &self,
        login_id: &str,
        connection: &Connection,
    ) -> Result<LoginAttempt, Status> {
        let url = self.begin(login_id, connection).await?;
        self.finish(&self.provider.log_in(&url)).await
    }

    /// Opens a session by a connection. Returns its secret.
    pub(crate) async fn sign_in_by(&self, connection: &Connection) -> Result<String, Status> {
        let login = self.start_session_login().await;
        let attempt = self.prove(&login, connection).await?;
        self.open(attempt).await
    }

    pub(crate) async fn start_session_login(&self) -> String {
        let request = StartSessionLoginRequest {
            browser: vec![7; 32],
            description: Some(BrowserDescription::default()),
        };
        let started = self.sessions().start_session_login(request).await.unwrap();
        started.into_inner().login.unwrap().id
    }

    pub(crate) async fn open(&self, attempt: LoginAttempt) -> Result<String, Status> {
        let request = OpenSessionRequest {
            attempt_id: attempt.id,
            browser: vec![7; 32],
            description: None,
        };
        let opened = self.sessions().open_session(request).await?;
        Ok(opened.into_inner().secret)
    }

    /// Opens a session by the provider's session of a name.
    pub(crate) async fn sign_in(&self, provider_session: &str) -> String {
        let claims = json!({ "sid": provider_session });
        self.provider.change(|behaviour| behaviour.claims = claims);
        self.sign_in_by(&self.connection).await.unwrap()
    }

    /// Finds a session.
    pub(crate) async fn find(&self, secret: &str) -> Result<Session, Status> {
        let request = GetSessionRequest {
            secret: secret.to_owned(),
        };
        let found = self.sessions().get_session(request).await?;
        Ok(found.into_inner().session.unwrap())
    }

    pub(crate) async fn assert_ended(&self, secret: &str) {
        let error = self.find(secret).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{error}");
    }

    pub(crate) async fn log_out_at(
        &self,
        connection: &Connection,
        token: &str,
    ) -> Result<(), Status> {
        let request = EndProviderLoginRequest {
            connection_id: connection.id,
            logout_token: token.to_owned(),
        };
        self.sessions().end_provider_login(request).await?;
        Ok(())
    }

    /// Lets the provider say that the person has logged out.
    async fn log_out(&self, changes: &Value) -> Result<(), Status> {
        let token = self.provider.make_logout_token(changes);
        self.log_out_at(&self.connection, &token).await
    }

    pub(crate) async fn user(&self) -> User {
        let request = ListUsersRequest {
            tailnet_id: self.tailnet.id,
            ..ListUsersRequest::default()
        };
        let mut client = UserServiceClient::new(self.identity.admin());
        let users = client.list_users(request).await.unwrap().into_inner().users;
        let is_kim = |user: &&User| user.login_name == "kim@example.com";
        users.iter().find(is_kim).unwrap().clone()
    }

    pub(crate) async fn update_user(&self, user: User, field: &str) -> Result<(), Status> {
        let request = UpdateUserRequest {
            user: Some(user),
            update_mask: Some(FieldMask {
                paths: vec![field.to_owned()],
            }),
        };
        let mut client = UserServiceClient::new(self.identity.admin());
        client.update_user(request).await?;
        Ok(())
    }

    pub(crate) async fn set_suspended(&self, suspended: bool) {
        let user = User {
            suspended,
            ..self.user().await
        };
        self.update_user(user, "suspended").await.unwrap();
    }
}

async fn request_is_pushed_where_the_provider_requires_it(corp: TestCorp) {
    let require = |more: Value| {
        let mut published = json!({ "require_pushed_authorization_requests": true });
        published
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        published
    };
    corp.provider
        .change(|behaviour| behaviour.discovery = require(json!({})));
    let login = corp.start_session_login().await;
    let url = corp.begin(&login, &corp.connection).await.unwrap();
    assert!(
        url.contains("request_uri=") && !url.contains("state="),
        "{url}"
    );
    corp.finish(&corp.provider.log_in(&url)).await.unwrap();
    assert_eq!(corp.provider.count_requests("/par"), 1);

    let refusal = json!({ "error": "invalid_request", "error_description": "no such address" });
    for (fault, code, words) in [
        (
            Fault::Answer(400, "application/json", refusal.to_string()),
            Code::FailedPrecondition,
            "no such address",
        ),
        (
            Fault::Answer(400, "text/html", "no".to_owned()),
            Code::Unavailable,
            "status 400",
        ),
        (
            Fault::Answer(201, "application/json", "{}".to_owned()),
            Code::Unavailable,
            "request_uri",
        ),
        (Fault::Status(503), Code::Unavailable, "503"),
    ] {
        corp.provider.change(|behaviour| {
            behaviour.faults.insert("/par".to_owned(), fault);
        });
        let refused = corp.begin(&login, &corp.connection).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }
}

async fn person_of_a_merged_user_is_who_stays(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    let from = corp.user().await;
    let tailnet_id = corp.tailnet.id;
    let into = corp
        .identity
        .new_user(tailnet_id, "kim@home.example")
        .await
        .unwrap();
    let request = MergeUsersRequest {
        tailnet_id,
        from_user_id: from.id,
        into_user_id: into.id,
        dry_run: false,
    };
    let mut users = UserServiceClient::new(corp.identity.admin());
    users.merge_users(request).await.unwrap();
    assert_eq!(corp.find(&secret).await.unwrap().user_id, into.id);
    let again = corp.sign_in("phone").await;
    assert_eq!(corp.find(&again).await.unwrap().user_id, into.id);
    // Who is suspended by an administrator is not merged, also when nobody has approved the user.
    let waiting = corp
        .identity
        .new_user(tailnet_id, "lee@example.com")
        .await
        .unwrap();
    let suspended = User {
        suspended: true,
        ..waiting.clone()
    };
    corp.update_user(suspended, "suspended").await.unwrap();
    let request = MergeUsersRequest {
        tailnet_id,
        from_user_id: waiting.id,
        into_user_id: into.id,
        dry_run: false,
    };
    let refused = users.merge_users(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
}

async fn logout_of_a_session_ends_that_session_alone(corp: TestCorp) {
    let laptop = corp.sign_in("laptop").await;
    let phone = corp.sign_in("phone").await;
    corp.log_out(&json!({ "sid": "laptop" })).await.unwrap();
    corp.assert_ended(&laptop).await;
    corp.find(&phone).await.unwrap();
    let audited = corp.identity.audited_details("session.end").await;
    assert_eq!(audited, [json!({ "by": "provider" })]);
    assert!(!corp.user().await.suspended);
}

async fn logout_of_a_person_ends_all_sessions_of_the_connection(corp: TestCorp) {
    let laptop = corp.sign_in("laptop").await;
    corp.provider
        .change(|behaviour| behaviour.claims = json!({ "sid": null }));
    let nameless = corp.sign_in_by(&corp.connection).await.unwrap();
    let other = corp.connect("Other", |_| {}).await;
    let by_other = corp.sign_in_by(&other).await.unwrap();
    // Somebody who has never been here.
    corp.log_out(&json!({ "sub": "person-2" })).await.unwrap();
    corp.find(&laptop).await.unwrap();
    corp.log_out(&json!({})).await.unwrap();
    corp.assert_ended(&laptop).await;
    corp.assert_ended(&nameless).await;
    corp.find(&by_other).await.unwrap();
}

async fn logout_of_a_session_alone_finds_its_person(corp: TestCorp) {
    let laptop = corp.sign_in("laptop").await;
    let phone = corp.sign_in("phone").await;
    corp.log_out(&json!({ "sub": null, "sid": "phone" }))
        .await
        .unwrap();
    corp.assert_ended(&phone).await;
    corp.log_out(&json!({ "sub": null, "sid": "tablet" }))
        .await
        .unwrap();
    corp.find(&laptop).await.unwrap();
}

async fn logout_token_is_taken_once_by_all_replicas(corp: TestCorp) {
    let token = corp.provider.make_logout_token(&json!({}));
    let replica = corp.identity.start_replica().await;
    let gateway = Caller::Service(ServiceName::NetmapGateway);
    let mut other = SessionServiceClient::new(channel(&replica, gateway));
    let request = EndProviderLoginRequest {
        connection_id: corp.connection.id,
        logout_token: token.clone(),
    };
    let (here, there) = tokio::join!(
        corp.log_out_at(&corp.connection, &token),
        other.end_provider_login(request),
    );
    assert_ne!(here.is_ok(), there.is_ok(), "one of them takes it");
    let secret = corp.sign_in("laptop").await;
    let again = corp.log_out_at(&corp.connection, &token).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert!(again.message().contains("used already"), "{again}");
    corp.find(&secret).await.unwrap();
}

async fn logout_token_of_another_connection_ends_nothing(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    let stranger = TestOidcProvider::start().await;
    stranger.change(|behaviour| (behaviour.signing_key, behaviour.published_keys) = (9, vec![9]));
    let own = stranger.make_logout_token(&json!({}));
    let posing = stranger.make_logout_token(&json!({ "iss": corp.provider.issuer() }));
    let for_others = corp.provider.make_logout_token(&json!({ "aud": "other" }));
    for token in [own, posing, for_others, "a.b.c".to_owned(), String::new()] {
        let refused = corp.log_out_at(&corp.connection, &token).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let nobody = Connection {
        id: 999_999,
        ..Connection::default()
    };
    let token = corp.provider.make_logout_token(&json!({}));
    let unknown = corp.log_out_at(&nobody, &token).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    corp.find(&secret).await.unwrap();
}

async fn logout_suspends_where_the_connection_says_so_until_the_next_login(mut corp: TestCorp) {
    corp.connection = corp
        .connect("Strict", |oidc| {
            oidc.on_logout = LoginEndEffect::Suspend.into()
        })
        .await;
    // A device of hers, and no session.
    let device = corp.identity.start_login(1, 2).await.unwrap();
    let attempt = corp.prove(&device.id, &corp.connection).await.unwrap();
    let decision = DecideLoginAttemptRequest {
        attempt_id: attempt.id,
        browser: vec![7; 32],
        approve: true,
    };
    corp.attempts()
        .decide_login_attempt(decision)
        .await
        .unwrap();
    corp.log_out(&json!({ "sub": null, "sid": "session-1" }))
        .await
        .unwrap();
    let user = corp.user().await;
    assert!(user.suspended, "{user:?}");
    assert_eq!(user.suspended_by_connection_id, corp.connection.id);

    // Another connection's word does not suffice, and hers does.
    let other = corp.connect("Other", |_| {}).await;
    let refused = corp.sign_in_by(&other).await.unwrap_err();
    assert!(refused.message().contains("suspended"), "{refused}");
    let secret = corp.sign_in("session-2").await;
    let user = corp.user().await;
    assert!(!user.suspended, "{user:?}");
    assert_eq!(user.suspended_by_connection_id, 0);
    corp.find(&secret).await.unwrap();
    let audited = corp.identity.audited_details("user.update").await;
    let said = |suspended: bool| {
        let by = if suspended {
            vec!["provider"]
        } else {
            Vec::new()
        };
        json!({ "suspended": suspended, "suspended_by": by })
    };
    let change = |before, after| json!({ "before": said(before), "after": said(after) });
    assert_eq!(audited[1..], [change(false, true), change(true, false)]);
}

async fn who_is_suspended_by_an_administrator_stays_so(mut corp: TestCorp) {
    corp.connection = corp
        .connect("Strict", |oidc| {
            oidc.on_logout = LoginEndEffect::Suspend.into()
        })
        .await;
    corp.sign_in("laptop").await;
    corp.set_suspended(true).await;
    corp.log_out(&json!({})).await.unwrap();
    let refused = corp.sign_in_by(&corp.connection).await.unwrap_err();
    assert!(refused.message().contains("suspended"), "{refused}");

    // The other way round: what a logout began, an administrator has taken over.
    corp.set_suspended(false).await;
    corp.log_out(&json!({})).await.unwrap();
    corp.set_suspended(true).await;
    corp.sign_in_by(&corp.connection).await.unwrap_err();
    assert!(corp.user().await.suspended);
}

async fn owner_is_not_suspended(mut corp: TestCorp) {
    corp.connection = corp
        .connect("Strict", |oidc| {
            oidc.on_logout = LoginEndEffect::Suspend.into()
        })
        .await;
    let secret = corp.sign_in("laptop").await;
    let owner = User {
        role: Role::Owner.into(),
        ..corp.user().await
    };
    corp.update_user(owner, "role").await.unwrap();
    corp.log_out(&json!({})).await.unwrap();
    corp.assert_ended(&secret).await;
    assert!(!corp.user().await.suspended);
}

async fn session_of_a_provider_ends_there_too(corp: TestCorp) {
    let close = async |secret: &str| {
        let request = CloseSessionRequest {
            secret: secret.to_owned(),
            callback_url: CALLBACK.to_owned(),
        };
        let closed = corp.sessions().close_session(request).await.unwrap();
        closed.into_inner().provider_url
    };
    let secret = corp.sign_in("laptop").await;
    let url = close(&secret).await;
    let (place, query) = url.split_once('?').unwrap();
    assert_eq!(place, format!("{}/end-session", corp.provider.issuer()));
    for part in [
        "client_id=bowline",
        "id_token_hint=ey",
        "post_logout_redirect_uri=https%3A%2F%2Fbowline.example.com%2Flogin%2Fcallback",
        "state=signed-out",
    ] {
        assert!(query.contains(part), "{part} is not in {query}");
    }
    corp.assert_ended(&secret).await;
    assert_eq!(close(&secret).await, "", "it has ended already");

    // A provider without such an address, or with nonsense there.
    for published in [Value::Null, json!("javascript:alert(1)"), json!(7)] {
        let provider = TestOidcProvider::start().await;
        let discovery = json!({ "end_session_endpoint": published });
        provider.change(|behaviour| behaviour.discovery = discovery);
        let issuer = provider.issuer().to_owned();
        let connection = corp
            .connect(&issuer, |oidc| oidc.issuer.clone_from(&issuer))
            .await;
        let login = corp.start_session_login().await;
        let url = corp.begin(&login, &connection).await.unwrap();
        let attempt = corp.finish(&provider.log_in(&url)).await.unwrap();
        let secret = corp.open(attempt).await.unwrap();
        assert_eq!(close(&secret).await, "");
        corp.assert_ended(&secret).await;
    }
}
