//! Programs at a terminal that get a session, whose person logs in in a browser.

use bowline_proto::identity::v1::{
    AddConditionRequest, BeginLoginAttemptRequest, BrowserDescription, Condition, ConditionScope,
    DecideLoginAttemptRequest, EndOwnSessionRequest, FindProgramLoginRequest,
    ListOwnSessionsRequest, ListSessionsRequest, Login, LoginState, OpenProgramSessionRequest,
    OpenProgramSessionResponse, OpenSessionRequest, Role, Session, SessionOrigin,
    StartProgramLoginRequest, User, condition_service_client::ConditionServiceClient,
    login_attempt_service_client::LoginAttemptServiceClient,
    session_service_client::SessionServiceClient,
};
use bowline_test_servers::on_both;
use serde_json::json;
use tonic::{Code, Status};

use crate::{provider_logins::TestCorp, sessions::sign_in};

on_both!(TestCorp::start =>
    program_gets_one_session_when_its_person_says_so,
    person_who_says_no_lets_no_program_in,
    program_is_found_by_its_code_as_people_type_it,
    condition_for_administrators_counts_for_programs,
    session_lets_no_program_in,
    program_that_asks_is_kept_when_too_many_wait,
    program_of_a_suspended_person_gets_nothing,
    logout_at_the_provider_ends_a_login_that_is_not_fetched,
    person_ends_own_sessions_and_no_others,
);

const BROWSER: [u8; 32] = [7; 32];

impl TestCorp {
    async fn start_program(&self) -> (Login, String) {
        let request = StartProgramLoginRequest {
            name: "bowline on laptop".to_owned(),
            description: Some(BrowserDescription {
                source_address: "192.0.2.9".to_owned(),
                user_agent: "bowline".to_owned(),
            }),
        };
        let started = self.sessions().start_program_login(request).await.unwrap();
        let started = started.into_inner();
        (started.login.unwrap(), started.device_code)
    }

    async fn open_program(&self, device_code: &str) -> Result<OpenProgramSessionResponse, Status> {
        let request = OpenProgramSessionRequest {
            device_code: device_code.to_owned(),
        };
        let opened = self.sessions().open_program_session(request).await?;
        Ok(opened.into_inner())
    }

    async fn list_sessions(&self) -> Vec<Session> {
        let request = ListSessionsRequest {
            tailnet_id: self.tailnet.id,
            user_id: 0,
        };
        let mut client = SessionServiceClient::new(self.identity.admin());
        let listed = client.list_sessions(request).await.unwrap();
        listed.into_inner().sessions
    }

    async fn find_program(&self, user_code: &str) -> Result<String, Status> {
        let request = FindProgramLoginRequest {
            user_code: user_code.to_owned(),
        };
        let found = self.sessions().find_program_login(request).await?;
        Ok(found.into_inner().login_id)
    }

    async fn decide_program(&self, login: &Login, approve: bool) {
        let attempt = self.prove(&login.id, &self.connection).await.unwrap();
        let decision = DecideLoginAttemptRequest {
            attempt_id: attempt.id,
            browser: BROWSER.to_vec(),
            approve,
        };
        let mut client = LoginAttemptServiceClient::new(self.gateway());
        client.decide_login_attempt(decision).await.unwrap();
    }
}

async fn program_gets_one_session_when_its_person_says_so(corp: TestCorp) {
    let (login, code) = corp.start_program().await;
    let waiting = corp.open_program(&code).await.unwrap();
    assert_eq!(waiting.state(), LoginState::Pending);
    assert!(waiting.secret.is_empty());

    let attempt = corp.prove(&login.id, &corp.connection).await.unwrap();
    let shown = attempt.login.unwrap().program.unwrap();
    assert_eq!(shown.name, "bowline on laptop");
    assert_eq!(shown.user_code, login.program.clone().unwrap().user_code);
    let waiting = corp.open_program(&code).await.unwrap();
    assert_eq!(
        waiting.state(),
        LoginState::Pending,
        "seeing it lets nobody in"
    );
    // The browser itself gets no session of it.
    let request = OpenSessionRequest {
        attempt_id: attempt.id,
        browser: BROWSER.to_vec(),
        description: None,
    };
    let refused = corp.sessions().open_session(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    corp.decide_program(&login, true).await;
    let (first, second) = tokio::join!(corp.open_program(&code), corp.open_program(&code));
    let mut outcomes = [first, second];
    outcomes.sort_by_key(Result::is_err);
    let [Ok(opened), Err(late)] = outcomes else {
        panic!("one of two gets the session: {outcomes:?}")
    };
    assert_eq!(late.code(), Code::NotFound, "{late}");
    corp.assert_ended(&opened.secret).await;
    let session = opened.session.unwrap();
    let listed = corp.list_sessions().await;
    assert!(matches!(&listed[..], [only] if only.id == session.id));
    assert_eq!(session.origin(), SessionOrigin::Provider);
    assert_eq!(session.connection_id, corp.connection.id);
    assert_eq!(session.user_id, corp.user().await.id);
    assert_eq!(session.source_address, "192.0.2.9");
    assert_eq!(session.user_agent, "bowline on laptop (bowline)");
    assert!(session.program);
    // The page that the person sees stays; the code is used up.
    let code = login.program.clone().unwrap().user_code;
    let gone = corp.find_program(&code).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
    // A program's session is no browser's.
    let request = ListOwnSessionsRequest {
        session_secret: opened.secret.clone(),
    };
    let refused = corp.sessions().list_own_sessions(request).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    let audited = corp.identity.audited_details("program.approve").await;
    let device = json!({
        "program": "bowline on laptop", "user_agent": "bowline", "source": "192.0.2.9",
    });
    assert_eq!(
        audited,
        [json!({ "user": "kim@example.com", "device": device })]
    );

    // A logout at the provider ends it as it ends a browser's.
    let token = corp.provider.make_logout_token(&json!({}));
    corp.log_out_at(&corp.connection, &token).await.unwrap();
    assert_eq!(corp.list_sessions().await, []);
}

async fn person_who_says_no_lets_no_program_in(corp: TestCorp) {
    let (login, code) = corp.start_program().await;
    corp.decide_program(&login, false).await;
    let denied = corp.open_program(&code).await.unwrap();
    assert_eq!(denied.state(), LoginState::Denied);
    assert_eq!(denied.denial, "the person does not want this program");
    assert_eq!(corp.identity.audited_details("program.deny").await.len(), 1);
    let (_, other) = corp.start_program().await;
    for unknown in [
        "",
        "bowline-device-000000000000-00",
        &other.replace("device", "session"),
    ] {
        let refused = corp.open_program(unknown).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
}

async fn program_is_found_by_its_code_as_people_type_it(corp: TestCorp) {
    let (login, _) = corp.start_program().await;
    let (other, _) = corp.start_program().await;
    let code = login.program.unwrap().user_code;
    assert_ne!(code, other.program.unwrap().user_code);
    let typed = format!("{} - {}", &code[..4].to_lowercase(), &code[4..]);
    assert_eq!(corp.find_program(&typed).await.unwrap(), login.id);
    for unknown in ["", "BCDF", "AAAA-AAAA", "' OR 1=1"] {
        let refused = corp.find_program(unknown).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
}

async fn condition_for_administrators_counts_for_programs(corp: TestCorp) {
    corp.sign_in("laptop").await;
    let user = User {
        role: Role::Admin.into(),
        ..corp.user().await
    };
    corp.update_user(user, "role").await.unwrap();
    let request = AddConditionRequest {
        condition: Some(Condition {
            tailnet_id: corp.tailnet.id,
            scope: ConditionScope::Administration.into(),
            networks: vec!["198.51.100.0/24".to_owned()],
            ..Condition::default()
        }),
    };
    let mut conditions = ConditionServiceClient::new(corp.identity.admin());
    conditions.add_condition(request).await.unwrap();
    let (login, _) = corp.start_program().await;
    let refused = corp.prove(&login.id, &corp.connection).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("networks"), "{refused}");
}

async fn session_lets_no_program_in(corp: TestCorp) {
    // A session that lets devices in: no provider has opened it.
    let secret = sign_in(&corp.identity, corp.tailnet.id, "lee@example.com").await;
    let (login, _) = corp.start_program().await;
    let request = BeginLoginAttemptRequest {
        login_id: login.id,
        connection_id: 0,
        browser: BROWSER.to_vec(),
        session_secret: secret,
        ..BeginLoginAttemptRequest::default()
    };
    let mut client = LoginAttemptServiceClient::new(corp.gateway());
    let refused = client.begin_login_attempt(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
}

async fn program_of_a_suspended_person_gets_nothing(corp: TestCorp) {
    let (login, code) = corp.start_program().await;
    corp.decide_program(&login, true).await;
    corp.set_suspended(true).await;
    let expired = corp.open_program(&code).await.unwrap();
    assert_eq!(expired.state(), LoginState::Expired);
    // What the person has said before is void when an administrator changes it back.
    corp.set_suspended(false).await;
    let expired = corp.open_program(&code).await.unwrap();
    assert_eq!(expired.state(), LoginState::Expired);
}

async fn logout_at_the_provider_ends_a_login_that_is_not_fetched(corp: TestCorp) {
    let (login, code) = corp.start_program().await;
    corp.decide_program(&login, true).await;
    let token = corp.provider.make_logout_token(&json!({}));
    corp.log_out_at(&corp.connection, &token).await.unwrap();
    let expired = corp.open_program(&code).await.unwrap();
    assert_eq!(expired.state(), LoginState::Expired);
}

async fn person_ends_own_sessions_and_no_others(corp: TestCorp) {
    let (login, code) = corp.start_program().await;
    corp.decide_program(&login, true).await;
    let program = corp.open_program(&code).await.unwrap().session.unwrap();
    let secret = corp.sign_in("laptop").await;
    let request = ListOwnSessionsRequest {
        session_secret: secret.clone(),
    };
    let listed = corp.sessions().list_own_sessions(request).await.unwrap();
    assert_eq!(listed.into_inner().sessions.len(), 2);
    let end = async |id: &str| {
        let request = EndOwnSessionRequest {
            session_secret: secret.clone(),
            session_id: id.to_owned(),
        };
        corp.sessions().end_own_session(request).await.map(drop)
    };
    end(&program.id).await.unwrap();
    assert_eq!(corp.list_sessions().await.len(), 1);
    let refused = end(&program.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
}

async fn program_that_asks_is_kept_when_too_many_wait(corp: TestCorp) {
    let (login, code) = corp.start_program().await;
    let waiting = corp.open_program(&code).await.unwrap();
    assert_eq!(waiting.state(), LoginState::Pending);
    corp.identity.make_login_older(&login.id, 60).await;
    // All others of its network are waited for, too, and older.
    let identity = &corp.identity;
    identity
        .insert_pending(10_000, "192.0.2.1", 300, Some(5))
        .await;
    identity.start_login_from(1, "192.0.99.1").await.unwrap();
    assert_eq!(identity.pending_count("192.0.2.1").await, 9_990);
    let waiting = corp.open_program(&code).await.unwrap();
    assert_eq!(waiting.state(), LoginState::Pending);
}
