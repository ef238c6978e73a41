//! Whether a provider still vouches for people, and what ends when it does not.

use std::time::Duration;

use bowline_proto::identity::v1::{
    Admission, CloseSessionRequest, Connection, DeleteUserRequest, FinishOidcLoginRequest,
    LoginEndEffect, OpenSessionRequest, RefreshConnectionRequest, UpdateConnectionRequest,
    connection::Provider, connection_service_client::ConnectionServiceClient,
    login_attempt_service_client::LoginAttemptServiceClient,
    session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
};
use bowline_sealing::SealingKeys;
use bowline_service_kit::{Caller, ServiceName};
use bowline_test_oidc_provider::Fault;
use bowline_test_servers::{TestDatabase, on_both};
use prost_types::FieldMask;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{
    identity::{SEALING_KEY, TestBase, channel},
    provider_logins::TestCorp,
};

on_both!(start =>
    provider_that_vouches_changes_groups_live,
    refusal_ends_what_the_connection_says,
    what_is_no_refusal_changes_nothing,
    refusal_after_a_lost_answer_ends_sessions_only,
    one_replica_asks_for_each_person,
    connection_that_asks_nothing_keeps_nothing,
    nobody_is_asked_about_who_is_no_user,
    who_is_admitted_no_more_is_refused,
    replicas_share_people_and_ask_about_few_at_once,
    nobody_is_noted_where_it_can_not_be_asked,
    what_older_keys_have_sealed_is_sealed_again,
);

/// How long what happens in the background may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts identity with a connection that asks hourly, and suspends.
async fn start(database: TestDatabase) -> TestCorp {
    let mut corp = TestCorp::start(database).await;
    let connection = corp.connect("Asking", |oidc| {
        oidc.refresh_interval = Some(hour());
        oidc.on_refusal = LoginEndEffect::Suspend.into();
    });
    corp.connection = connection.await;
    corp
}

fn hour() -> prost_types::Duration {
    prost_types::Duration {
        seconds: 3600,
        nanos: 0,
    }
}

/// Lets the provider be asked now. Returns about how many people.
async fn hasten(corp: &TestCorp) -> u64 {
    let request = RefreshConnectionRequest {
        tailnet_id: corp.tailnet.id,
        connection_id: corp.connection.id,
    };
    let mut client = ConnectionServiceClient::new(corp.identity.admin());
    let answer = client.refresh_connection(request).await.unwrap();
    answer.into_inner().people
}

/// Waits until the provider was asked so often for tokens.
async fn await_asked(corp: &TestCorp, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while corp.provider.count_requests("/token") < times {
        assert!(Instant::now() < deadline, "the provider is not asked");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Asks until what was asked last is done with: a further look finds nobody at it.
async fn ask(corp: &TestCorp) {
    let before = corp.provider.count_requests("/token");
    let deadline = Instant::now() + PATIENCE;
    while hasten(corp).await == 0 {
        assert!(Instant::now() < deadline, "nobody is asked about");
        sleep(Duration::from_millis(20)).await;
    }
    await_asked(corp, before + 1).await;
}

async fn await_suspended(corp: &TestCorp) {
    let deadline = Instant::now() + PATIENCE;
    while !corp.user().await.suspended {
        assert!(Instant::now() < deadline, "the user is not suspended");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns how many people the provider is asked about.
async fn count_kept(corp: &TestCorp) -> i64 {
    corp.identity.count_rows("provider_refreshes").await
}

async fn nobody_is_asked_about_who_is_no_user(corp: TestCorp) {
    let strangers =
        json!({ "sub": "stranger", "email": "who@elsewhere.example", "email_verified": false });
    corp.provider
        .change(|behaviour| behaviour.claims = strangers);
    corp.sign_in_by(&corp.connection).await.unwrap_err();
    assert_eq!(count_kept(&corp).await, 0, "a stranger");
    corp.provider
        .change(|behaviour| behaviour.claims = json!({}));
    corp.sign_in_by(&corp.connection).await.unwrap();
    assert_eq!(count_kept(&corp).await, 1);
    let gone = corp.user().await;
    let request = DeleteUserRequest {
        tailnet_id: corp.tailnet.id,
        user_id: gone.id,
    };
    corp.identity
        .new_user(corp.tailnet.id, "ben@example.com")
        .await
        .unwrap();
    let mut users = UserServiceClient::new(corp.identity.admin());
    users.delete_user(request).await.unwrap();
    assert_eq!(count_kept(&corp).await, 0, "a deleted user");
}

async fn await_ended(corp: &TestCorp, secret: &str) {
    let deadline = Instant::now() + PATIENCE;
    while corp.find(secret).await.is_ok() {
        assert!(Instant::now() < deadline, "the session goes on");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn provider_that_vouches_changes_groups_live(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    assert_eq!(corp.user().await.groups, ["dev"]);
    let claims = json!({ "groups": ["ops"], "sid": "laptop" });
    corp.provider.change(|behaviour| behaviour.claims = claims);
    ask(&corp).await;
    let deadline = Instant::now() + PATIENCE;
    while corp.user().await.groups != ["ops"] {
        assert!(Instant::now() < deadline, "{:?}", corp.user().await);
        sleep(Duration::from_millis(20)).await;
    }
    // Each answer has the next token: the provider refuses one that was used.
    ask(&corp).await;
    ask(&corp).await;
    corp.find(&secret).await.unwrap();
    assert!(!corp.user().await.suspended);
}

async fn refusal_ends_what_the_connection_says(corp: TestCorp) {
    for refusal in [
        (400, json!({ "error": "invalid_grant" })),
        (403, json!({ "error": "access_denied" })),
    ] {
        let secret = corp.sign_in("laptop").await;
        let refuse = Some(refusal);
        corp.provider
            .change(|behaviour| behaviour.refresh_answer = refuse);
        ask(&corp).await;
        await_suspended(&corp).await;
        corp.assert_ended(&secret).await;
        assert_eq!(
            corp.user().await.suspended_by_connection_id,
            corp.connection.id
        );
        assert_eq!(hasten(&corp).await, 0, "it is not asked again");
        // A login is the provider's word again.
        corp.provider
            .change(|behaviour| behaviour.refresh_answer = None);
        corp.sign_in("laptop").await;
        assert!(!corp.user().await.suspended);
        assert_eq!(hasten(&corp).await, 1);
    }
}

async fn what_is_no_refusal_changes_nothing(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    for answer in [
        (500, json!({})),
        (503, json!({ "error": "temporarily_unavailable" })),
        (500, json!({ "error": "invalid_grant" })),
        (500, json!({ "error": "access_denied" })),
        (503, json!({ "error": "invalid_grant" })),
        (400, json!({ "error": "invalid_client" })),
        (401, json!({ "error": "unauthorized_client" })),
        (200, json!({ "error": "invalid_grant" })),
        (400, json!("invalid_grant")),
        (429, json!(null)),
    ] {
        let answer = Some(answer);
        corp.provider
            .change(|behaviour| behaviour.refresh_answer = answer);
        ask(&corp).await;
    }
    // Tokens of another person, or by another key, say nothing of groups.
    corp.provider
        .change(|behaviour| behaviour.refresh_answer = None);
    for claims in [
        json!({ "sub": "person-2", "groups": ["ops"] }),
        json!({ "iss": "https://other.example", "groups": ["ops"] }),
    ] {
        corp.provider.change(|behaviour| behaviour.claims = claims);
        ask(&corp).await;
    }
    let fault = Fault::Status(502);
    corp.provider.change(|behaviour| {
        behaviour.faults.insert("/token".to_owned(), fault);
    });
    ask(&corp).await;
    corp.find(&secret).await.unwrap();
    let user = corp.user().await;
    assert!(!user.suspended, "{user:?}");
    assert_eq!(user.groups, ["dev"]);
}

async fn refusal_after_a_lost_answer_ends_sessions_only(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    // The token is used up, and the answer that has the next one can not be read.
    let lost = Some((200, json!("nonsense")));
    corp.provider
        .change(|behaviour| behaviour.refresh_answer = lost);
    ask(&corp).await;
    let refuse = Some((400, json!({ "error": "invalid_grant" })));
    corp.provider
        .change(|behaviour| behaviour.refresh_answer = refuse);
    ask(&corp).await;
    await_ended(&corp, &secret).await;
    assert!(!corp.user().await.suspended);
}

async fn one_replica_asks_for_each_person(corp: TestCorp) {
    let _replicas = [
        corp.identity.start_replica().await,
        corp.identity.start_replica().await,
    ];
    let secret = corp.sign_in("laptop").await;
    let before = corp.provider.count_requests("/token");
    for times in 1..=3 {
        ask(&corp).await;
        await_asked(&corp, before + times).await;
    }
    // A second one would have used a token twice, which the provider refuses.
    while hasten(&corp).await == 0 {
        sleep(Duration::from_millis(20)).await;
    }
    await_asked(&corp, before + 4).await;
    assert_eq!(corp.provider.count_requests("/token"), before + 4);
    corp.find(&secret).await.unwrap();
    assert!(!corp.user().await.suspended);
}

/// Changes the connection, past the logins.
async fn change_connection(corp: &TestCorp, path: &str, change: impl FnOnce(&mut Connection)) {
    let mut changed = corp.connection.clone();
    change(&mut changed);
    let request = UpdateConnectionRequest {
        connection: Some(changed),
        update_mask: Some(FieldMask {
            paths: vec![path.to_owned()],
        }),
        ..UpdateConnectionRequest::default()
    };
    let mut client = ConnectionServiceClient::new(corp.identity.admin());
    client.update_connection(request).await.unwrap();
}

async fn who_is_admitted_no_more_is_refused(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    // What the provider says is as before, and the connection admits others.
    for admission in [
        Admission {
            groups: vec!["dev".to_owned()],
            ..Admission::default()
        },
        Admission {
            domains: vec!["example.com".to_owned()],
            known_users_only: true,
            ..Admission::default()
        },
    ] {
        change_connection(&corp, "admission", |connection| {
            connection.admission = Some(admission);
        })
        .await;
        ask(&corp).await;
    }
    ask(&corp).await;
    corp.find(&secret).await.unwrap();
    let claims = json!({ "groups": ["ops"], "sid": "laptop" });
    corp.provider.change(|behaviour| behaviour.claims = claims);
    change_connection(&corp, "admission", |connection| {
        connection.admission = Some(Admission {
            groups: vec!["dev".to_owned()],
            ..Admission::default()
        });
    })
    .await;
    ask(&corp).await;
    await_suspended(&corp).await;
    corp.assert_ended(&secret).await;
    let user = corp.user().await;
    assert_eq!(user.suspended_by_connection_id, corp.connection.id);
    assert_eq!(
        user.groups,
        ["ops"],
        "what the provider says counts all the same"
    );
    assert_eq!(count_kept(&corp).await, 0, "she is not asked about again");
    let audited = corp.identity.audited_details("user.refuse").await;
    let reason = "You are in none of the groups that may log in here. Ask an administrator.";
    assert_eq!(
        audited,
        [json!({ "connection": "Asking", "reason": reason })]
    );
    let refused = corp.sign_in_by(&corp.connection).await.unwrap_err();
    assert!(
        refused.message().contains("none of the groups"),
        "{refused}"
    );
}

async fn replicas_share_people_and_ask_about_few_at_once(corp: TestCorp) {
    const PEOPLE: usize = 60;
    let replicas = [
        corp.identity.start_replica().await,
        corp.identity.start_replica().await,
    ];
    for number in 0..PEOPLE {
        let key = u32::try_from(number).unwrap();
        let network = format!("10.0.{number}.1");
        let login = corp.identity.start_login_from(key, &network);
        let login = login.await.unwrap().id;
        let url = corp.begin(&login, &corp.connection).await.unwrap();
        let answer = corp.provider.let_in(&url, &format!("person-{number}"));
        let request = FinishOidcLoginRequest {
            state: answer.state,
            code: answer.code,
            browser: vec![7; 32],
            ..FinishOidcLoginRequest::default()
        };
        corp.finish_with(request).await.unwrap();
    }
    assert_eq!(count_kept(&corp).await, 60);
    let before = corp.provider.count_requests("/token");
    // Whoever asks is held back, so that each replica has as many under way as it ever has.
    corp.provider.change(|behaviour| {
        behaviour.faults.insert("/token".to_owned(), Fault::Hold);
        behaviour.refresh_answer = Some((400, json!({ "error": "invalid_grant" })));
    });
    assert_eq!(hasten(&corp).await, 60);
    await_asked(&corp, before + 15).await;
    corp.provider.change(|behaviour| behaviour.faults.clear());
    corp.provider.release();
    let deadline = Instant::now() + PATIENCE;
    while count_kept(&corp).await > 0 {
        assert!(Instant::now() < deadline, "not all are asked about");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(corp.provider.count_requests("/token"), before + PEOPLE);
    assert_eq!(corp.provider.most_under_way(), 15, "five of each replica");
    let refused = corp.identity.audited_details("user.refuse").await;
    assert_eq!(refused.len(), PEOPLE, "each once");
    drop(replicas);
}

async fn nobody_is_noted_where_it_can_not_be_asked(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    let asked = corp.provider.count_requests("/token");
    // The client's secret can not be opened.
    let change_secret = async |sealed: &str| {
        let pool = sqlx::AnyPool::connect(&corp.identity.url()).await.unwrap();
        let (table, id) = (corp.identity.table("connections"), corp.connection.id);
        let query = format!("UPDATE {table} SET sealed_secret = {sealed} WHERE id = {id}");
        let query = sqlx::query(sqlx::AssertSqlSafe(query));
        query.execute(&pool).await.unwrap();
        pool.close().await;
    };
    change_secret("substr(sealed_secret, 1, 9)").await;
    assert_eq!(hasten(&corp).await, 1);
    let deadline = Instant::now() + PATIENCE;
    let later = chrono::Utc::now() + chrono::TimeDelta::minutes(3);
    let of = format!("asked_at = 0 AND due_at > {}", later.timestamp_micros());
    while corp.identity.count_rows_of("provider_refreshes", &of).await == 0 {
        assert!(
            Instant::now() < deadline,
            "it is not looked for whom to ask about"
        );
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(corp.provider.count_requests("/token"), asked);
    corp.find(&secret).await.unwrap();
    // It can be asked again, and nothing hides that this is its first word.
    change_secret("NULL").await;
    let refuse = Some((400, json!({ "error": "invalid_grant" })));
    corp.provider
        .change(|behaviour| behaviour.refresh_answer = refuse);
    ask(&corp).await;
    await_suspended(&corp).await;
}

async fn what_older_keys_have_sealed_is_sealed_again(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    // A login under way, and one whose person is known.
    let login = corp.start_session_login().await;
    let url = corp.begin(&login, &corp.connection).await.unwrap();
    let answer = corp.provider.let_in(&url, "ben");
    let other = corp.start_session_login().await;
    let known = corp.prove(&other, &corp.connection).await.unwrap();

    let newer = "bowline-sealing-key-ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";
    let replica = |keys: String| {
        corp.identity.start_replica_as(TestBase {
            sealing_keys: keys,
            ..TestBase::default()
        })
    };
    let rolled = replica(format!("{newer}\n{SEALING_KEY}")).await;
    let mark = SealingKeys::parse(newer).unwrap().active_mark();
    let deadline = Instant::now() + PATIENCE;
    for (table, column) in [
        ("connections", "sealed_secret"),
        ("provider_refreshes", "sealed_token"),
        ("sessions", "id_token"),
        ("login_attempts", "sealed"),
        ("login_attempts", "answer"),
    ] {
        while corp.identity.count_cells(table, column, &mark).await > 0 {
            assert!(
                Instant::now() < deadline,
                "{table} has what an older key sealed"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
    drop(rolled);
    let gateway = |replica: &_| channel(replica, Caller::Service(ServiceName::NetmapGateway));
    // A replica that has the newer key as a prepared one serves what others seal with it, and seals nothing back.
    let lagging = replica(format!("{SEALING_KEY}\n# prepared\n{newer}")).await;
    let request = FinishOidcLoginRequest {
        state: answer.state,
        code: answer.code,
        browser: vec![7; 32],
        ..FinishOidcLoginRequest::default()
    };
    let mut attempts = LoginAttemptServiceClient::new(gateway(&lagging));
    attempts.finish_oidc_login(request).await.unwrap();
    drop(lagging);
    // The older key is retired: what is under way goes on, and the provider is asked.
    let retired = replica(newer.to_owned()).await;
    let request = OpenSessionRequest {
        attempt_id: known.id,
        browser: vec![7; 32],
        description: None,
    };
    let mut sessions = SessionServiceClient::new(gateway(&retired));
    sessions.open_session(request).await.unwrap();
    let request = CloseSessionRequest {
        secret,
        callback_url: "https://bowline.example.com/login/callback".to_owned(),
    };
    let closed = sessions.close_session(request).await.unwrap().into_inner();
    assert!(
        closed.provider_url.contains("id_token_hint=ey"),
        "{closed:?}"
    );
}

async fn connection_that_asks_nothing_keeps_nothing(corp: TestCorp) {
    corp.sign_in("laptop").await;
    let mut changed = corp.connection.clone();
    if let Some(Provider::Oidc(oidc)) = &mut changed.provider {
        oidc.refresh_interval = None;
    }
    let update = |connection: Connection| UpdateConnectionRequest {
        connection: Some(connection),
        update_mask: Some(FieldMask {
            paths: vec!["oidc".to_owned()],
        }),
        ..UpdateConnectionRequest::default()
    };
    let mut client = ConnectionServiceClient::new(corp.identity.admin());
    assert_eq!(count_kept(&corp).await, 1);
    client.update_connection(update(changed)).await.unwrap();
    assert_eq!(count_kept(&corp).await, 0);
    let request = RefreshConnectionRequest {
        tailnet_id: corp.tailnet.id,
        connection_id: corp.connection.id,
    };
    let refused = client.refresh_connection(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for seconds in [0, 299, 2_592_001, -1, i64::MAX] {
        let mut wrong = corp.connection.clone();
        if let Some(Provider::Oidc(oidc)) = &mut wrong.provider {
            oidc.refresh_interval = Some(prost_types::Duration { seconds, nanos: 0 });
        }
        let refused = client.update_connection(update(wrong)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{seconds}");
    }
}
