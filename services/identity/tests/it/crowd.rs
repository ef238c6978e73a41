//! A crowd that logs in by a provider, through two replicas at once.

use std::{sync::Arc, time::Duration};

use bowline_identity::Identity;
use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, DecideLoginAttemptRequest, Device, FinishOidcLoginRequest,
    LoginAttempt, LoginAttemptState, LoginState, StartLoginRequest, WaitLoginRequest,
    login_attempt_service_client::LoginAttemptServiceClient,
    login_service_client::LoginServiceClient,
};
use bowline_service_kit::{Caller, ServiceName};
use bowline_test_servers::{choose_size, on_both};
use futures_util::{StreamExt as _, stream};
use sqlx::AnyPool;
use tonic::{Code, Status};

use crate::{identity::channel, provider_logins::TestCorp};

on_both!(TestCorp::start => each_login_of_a_crowd_happens_once);

/// How many log in at the same time.
const AT_ONCE: usize = 16;

/// One person of the crowd, with a device.
struct Newcomer {
    number: usize,
    corp: Arc<TestCorp>,
    replicas: [Identity; 2],
}

impl Newcomer {
    fn browser(&self) -> Vec<u8> {
        self.key(2)
    }

    fn key(&self, kind: u8) -> Vec<u8> {
        let mut key = vec![kind; 32];
        key[..8].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    fn attempts(
        &self,
        replica: usize,
    ) -> LoginAttemptServiceClient<bowline_service_kit::GrpcChannel> {
        let gateway = Caller::Service(ServiceName::NetmapGateway);
        LoginAttemptServiceClient::new(channel(&self.replicas[replica], gateway))
    }

    fn logins(&self, replica: usize) -> LoginServiceClient<bowline_service_kit::GrpcChannel> {
        let registry = Caller::Service(ServiceName::KeyRegistry);
        LoginServiceClient::new(channel(&self.replicas[replica], registry))
    }

    /// Logs in from the device to the button. What a person does twice, he or she does at both replicas at once.
    async fn log_in(self) {
        let [near, far] = [self.number % 2, (self.number + 1) % 2];
        let request = StartLoginRequest {
            machine_key: self.key(0),
            node_key: self.key(1),
            device: Some(Device {
                hostname: format!("laptop-{}", self.number),
                // A network of its own.
                source_address: format!("10.{}.{}.1", self.number / 250, self.number % 250),
                ..Device::default()
            }),
        };
        let started = self.logins(near).start_login(request).await.unwrap();
        let login = started.into_inner().login.unwrap();
        let request = WaitLoginRequest {
            login_id: login.id.clone(),
        };
        let mut waiting = self.logins(near);
        let waiting = tokio::spawn(async move { waiting.wait_login(request).await });

        let request = BeginLoginAttemptRequest {
            login_id: login.id,
            connection_id: self.corp.connection.id,
            browser: self.browser(),
            callback_url: "https://bowline.example.com/login/callback".to_owned(),
            ..BeginLoginAttemptRequest::default()
        };
        let begun = self
            .attempts(far)
            .begin_login_attempt(request)
            .await
            .unwrap();
        let begun = begun.into_inner();
        let answer = self
            .corp
            .provider
            .let_in(&begun.redirect_url, &format!("person-{}", self.number));
        let request = FinishOidcLoginRequest {
            state: answer.state,
            browser: self.browser(),
            code: answer.code,
            ..FinishOidcLoginRequest::default()
        };
        let (mut one, mut other) = (self.attempts(near), self.attempts(far));
        let (one, other) = tokio::join!(
            one.finish_oidc_login(request.clone()),
            other.finish_oidc_login(request)
        );
        let attempt =
            |answer: Result<tonic::Response<_>, Status>| answer.map(tonic::Response::into_inner);
        let finished = only_one([attempt(one), attempt(other)]);
        assert_identified(&finished.attempt.unwrap(), self.number);

        let request = DecideLoginAttemptRequest {
            attempt_id: begun.attempt_id,
            browser: self.browser(),
            approve: true,
        };
        let (mut one, mut other) = (self.attempts(near), self.attempts(far));
        let pressed = tokio::join!(
            one.decide_login_attempt(request.clone()),
            other.decide_login_attempt(request)
        );
        // The second press may find it done, which is no failure.
        let decided = pressed.0.or(pressed.1).unwrap().into_inner();
        assert_eq!(
            decided.attempt.unwrap().state(),
            LoginAttemptState::Approved
        );
        let decided = waiting.await.unwrap().unwrap().into_inner().login.unwrap();
        assert_eq!(decided.state(), LoginState::Approved);
    }
}

fn assert_identified(attempt: &LoginAttempt, number: usize) {
    assert_eq!(attempt.state(), LoginAttemptState::Identified);
    let user = attempt.user.as_ref().unwrap();
    assert_eq!(user.login_name, format!("person-{number}@example.com"));
}

/// Returns the one answer of two; the other is a refusal.
fn only_one<T: std::fmt::Debug>(answers: [Result<T, Status>; 2]) -> T {
    let [one, other] = answers;
    match (one, other) {
        (Ok(answer), Err(refused)) | (Err(refused), Ok(answer)) => {
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
            assert!(refused.message().contains("used already"), "{refused}");
            answer
        }
        both => panic!("not one of two: {both:?}"),
    }
}

async fn each_login_of_a_crowd_happens_once(corp: TestCorp) {
    let size = choose_size(100, 2000);
    let corp = Arc::new(corp);
    let replicas = [
        corp.identity.identity().clone(),
        corp.identity.start_replica().await,
    ];
    let crowd = (0..size).map(|number| Newcomer {
        number,
        corp: Arc::clone(&corp),
        replicas: replicas.clone(),
    });
    stream::iter(crowd)
        .for_each_concurrent(AT_ONCE, Newcomer::log_in)
        .await;

    let pool = AnyPool::connect(&corp.identity.url()).await.unwrap();
    let read = async |columns: &str, table: &str, condition: &str| {
        let table = corp.identity.table(table);
        let query = format!("SELECT {columns} FROM {table} WHERE {condition}");
        let counted: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&pool)
            .await
            .unwrap();
        usize::try_from(counted).unwrap()
    };
    let count = "CAST(COUNT(*) AS BIGINT)";
    for (table, condition) in [
        ("users", "1 = 1"),
        ("logins", "pending = 0"),
        // All are at their last step, which is the third.
        ("login_attempts", "step = 3"),
        ("audit", "action = 'user.create'"),
        ("audit", "action = 'user.link'"),
        ("audit", "action = 'login.approve'"),
    ] {
        assert_eq!(
            read(count, table, condition).await,
            size,
            "{table} {condition}"
        );
    }
    for (table, condition) in [("logins", "pending = 1"), ("login_attempts", "step <> 3")] {
        assert_eq!(
            read(count, table, condition).await,
            0,
            "{table} {condition}"
        );
    }
    // Their time is over: the next sweep leaves none, and a replica sweeps when it starts.
    for table in ["logins", "login_attempts"] {
        let table = corp.identity.table(table);
        let end = format!("UPDATE {table} SET expires_at = 1");
        sqlx::query(sqlx::AssertSqlSafe(end))
            .execute(&pool)
            .await
            .unwrap();
    }
    corp.identity.start_replica().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    for table in ["logins", "login_attempts"] {
        while read(count, table, "1 = 1").await > 0 {
            assert!(tokio::time::Instant::now() < deadline, "{table} has rows");
            tokio::task::yield_now().await;
        }
    }
}
