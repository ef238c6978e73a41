//! Logins and what is decided about them.

use std::time::Duration;

use bowline_proto::identity::v1::login_service_client::LoginServiceClient;
use bowline_proto::identity::v1::tailnet_service_client::TailnetServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    ApproveLoginRequest, Device, GetLoginRequest, ListLoginsRequest, LoginState, StartLoginRequest,
    UpdateTailnetRequest, UpdateUserRequest, User, WaitLoginRequest,
};
use bowline_service_kit::{Caller, ServiceName};
use bowline_test_servers::on_both;
use prost_types::FieldMask;
use tonic::Code;

use crate::identity::{TestIdentity, channel};

on_both!(TestIdentity::start =>
    suspended_and_unknown_users_get_no_login,
    approved_login_wakes_who_waits,
    login_is_decided_once_whoever_decides_at_the_same_time,
    repeated_decision_is_audited_once_and_a_contrary_one_is_refused,
    decision_at_another_replica_wakes_all_who_wait,
    those_who_wait_are_bounded,
    approval_says_in_the_trail_which_device,
    fields_that_a_request_lacks_are_named,
    tailnet_sees_the_logins_that_are_its_own_to_decide,
);

async fn fields_that_a_request_lacks_are_named(identity: TestIdentity) {
    let login = StartLoginRequest {
        machine_key: vec![1; 32],
        node_key: vec![2; 32],
        device: None,
    };
    let logins = LoginServiceClient::new(identity.registry());
    let users = UserServiceClient::new(identity.admin());
    let tailnets = TailnetServiceClient::new(identity.admin());
    let refusals = [
        ("device", logins.clone().start_login(login).await.err()),
        (
            "user",
            users
                .clone()
                .update_user(UpdateUserRequest::default())
                .await
                .err(),
        ),
        (
            "tailnet",
            tailnets
                .clone()
                .update_tailnet(UpdateTailnetRequest::default())
                .await
                .err(),
        ),
    ];
    for (field, refused) in refusals {
        let refused = refused.unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert_eq!(refused.message(), format!("{field}: is missing"));
    }
}

async fn tailnet_sees_the_logins_that_are_its_own_to_decide(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let start = async |number: u8, required_tailnet: &str| {
        let request = StartLoginRequest {
            machine_key: vec![number; 32],
            node_key: vec![number; 32],
            device: Some(Device {
                required_tailnet: required_tailnet.to_owned(),
                ..Device::default()
            }),
        };
        let mut client = LoginServiceClient::new(identity.registry());
        let started = client.start_login(request).await.unwrap();
        started.into_inner().login.unwrap().id
    };
    let list = async |tailnet_id: u64| {
        let mut client = LoginServiceClient::new(identity.admin());
        let request = ListLoginsRequest {
            tailnet_id,
            ..ListLoginsRequest::default()
        };
        let listed = client.list_logins(request).await;
        let logins = listed.unwrap().into_inner().logins.into_iter();
        let mut ids: Vec<_> = logins.map(|login| login.id).collect();
        ids.sort_unstable();
        ids
    };
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort_unstable();
        ids
    };
    let [any, own, other] = [
        start(1, "").await,
        start(2, "home").await,
        start(3, "work").await,
    ];
    assert_eq!(list(home.id).await, sorted(&[&any, &own]));
    // With another tailnet it is not known whose the first one is.
    let work = identity.new_tailnet("work").await;
    assert_eq!(list(home.id).await, sorted(&[&own]));
    assert_eq!(list(work.id).await, sorted(&[&other]));
    assert_eq!(list(0).await, sorted(&[&any, &own, &other]));
}

async fn suspended_and_unknown_users_get_no_login(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let suspended = User {
        suspended: true,
        ..user.clone()
    };
    let update_mask = Some(FieldMask {
        paths: vec!["suspended".to_owned()],
    });
    let request = UpdateUserRequest {
        user: Some(suspended),
        update_mask,
    };
    UserServiceClient::new(identity.admin())
        .update_user(request)
        .await
        .unwrap();
    let login = identity.start_login(1, 2).await.unwrap();
    let approve = |user_id| ApproveLoginRequest {
        login_id: login.id.clone(),
        tailnet_id: home.id,
        user_id,
    };
    let mut client = LoginServiceClient::new(identity.admin());
    let refused = client.approve_login(approve(user.id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let unknown = client
        .approve_login(approve(user.id + 7))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

async fn approved_login_wakes_who_waits(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let login = identity.start_login(1, 2).await.unwrap();
    let again = identity.start_login(1, 2).await.unwrap();
    assert_eq!(
        login.id, again.id,
        "a repeated request joins the login it has"
    );
    let mut waiting = LoginServiceClient::new(identity.registry());
    let request = WaitLoginRequest {
        login_id: login.id.clone(),
    };
    let waits = tokio::spawn(async move { waiting.wait_login(request).await });
    let request = ApproveLoginRequest {
        login_id: login.id,
        tailnet_id: home.id,
        user_id: user.id,
    };
    LoginServiceClient::new(identity.admin())
        .approve_login(request)
        .await
        .unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(5), waits)
        .await
        .unwrap()
        .unwrap();
    let decided = waited.unwrap().into_inner().login.unwrap();
    assert_eq!(decided.state(), LoginState::Approved);
    assert_eq!((decided.tailnet_id, decided.user_id), (home.id, user.id));
}

async fn login_is_decided_once_whoever_decides_at_the_same_time(identity: TestIdentity) {
    let (home, work) = (
        identity.new_tailnet("home").await,
        identity.new_tailnet("work").await,
    );
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    for round in 0..20 {
        let login = identity.start_login(round, 2).await.unwrap();
        // Two tailnets: nothing but the login itself orders the two.
        let (approved, denied) = tokio::join!(
            identity.approve(&login, &user),
            identity.deny(&login, &work)
        );
        let (decided, refused, action) = match (approved, denied) {
            (Ok(decided), Err(refused)) => (decided, refused, "login.approve"),
            (Err(refused), Ok(decided)) => (decided, refused, "login.deny"),
            both => panic!("{both:?}"),
        };
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("already"), "{refused}");
        let request = GetLoginRequest {
            login_id: login.id.clone(),
        };
        let mut client = LoginServiceClient::new(identity.registry());
        let kept = client.get_login(request).await.unwrap().into_inner().login;
        assert_eq!(kept, Some(decided));
        assert_eq!(identity.audited_actions(&login).await, [action]);
    }
}

async fn repeated_decision_is_audited_once_and_a_contrary_one_is_refused(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let other = identity
        .new_user(home.id, "noor@example.com")
        .await
        .unwrap();
    let login = identity.start_login(1, 2).await.unwrap();
    let once = identity.approve(&login, &user).await.unwrap();
    assert_eq!(identity.approve(&login, &user).await.unwrap(), once);
    assert!(identity.approve(&login, &other).await.is_err());
    assert!(identity.deny(&login, &home).await.is_err());
    assert_eq!(identity.audited_actions(&login).await, ["login.approve"]);

    let login = identity.start_login(1, 3).await.unwrap();
    let once = identity.deny(&login, &home).await.unwrap();
    assert_eq!(once.denial, "not ours");
    assert_eq!(identity.deny(&login, &home).await.unwrap(), once);
    let refused = identity.approve(&login, &user).await.unwrap_err();
    assert!(refused.message().contains("denied already"), "{refused}");
    assert_eq!(identity.audited_actions(&login).await, ["login.deny"]);
}

async fn decision_at_another_replica_wakes_all_who_wait(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let other = identity.start_replica().await;
    let mut waits = tokio::task::JoinSet::new();
    let mut logins = Vec::new();
    for key in 0..20 {
        let login = identity.start_login_from(key, "192.0.2.7").await.unwrap();
        for _ in 0..2 {
            let registry = Caller::Service(ServiceName::KeyRegistry);
            let mut client = LoginServiceClient::new(channel(&other, registry));
            let request = WaitLoginRequest {
                login_id: login.id.clone(),
            };
            waits.spawn(async move { client.wait_login(request).await });
        }
        logins.push(login);
    }
    // Waited for: noted, so that they are not let go.
    let pool = sqlx::AnyPool::connect(&identity.url()).await.unwrap();
    let followed = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM {} WHERE followed_at > 0",
        identity.table("logins")
    );
    let noted = async {
        loop {
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(followed.clone()))
                .fetch_one(&pool)
                .await
                .unwrap();
            if count == 20 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noted)
        .await
        .unwrap();
    for login in &logins {
        identity.approve(login, &user).await.unwrap();
    }
    let all = tokio::time::timeout(Duration::from_secs(20), waits.join_all());
    for waited in all.await.unwrap() {
        let login = waited.unwrap().into_inner().login.unwrap();
        assert_eq!(login.state(), LoginState::Approved);
    }
}

async fn those_who_wait_are_bounded(identity: TestIdentity) {
    let login = identity.start_login(1, 2).await.unwrap();
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let mut client = LoginServiceClient::new(identity.registry());
        let request = WaitLoginRequest {
            login_id: login.id.clone(),
        };
        waits.spawn(async move { client.wait_login(request).await });
    }
    // Four wait; the one that is too many is told at once.
    let first = tokio::time::timeout(Duration::from_secs(20), waits.join_next());
    let refused = first.await.unwrap().unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("waited for already"),
        "{refused}"
    );
}

async fn approval_says_in_the_trail_which_device(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let login = identity.start_login_from(1, "192.0.2.7").await.unwrap();
    identity.approve(&login, &user).await.unwrap();
    let details = identity.audited_details("login.approve").await;
    assert_eq!(details[0]["user"], "amira@example.com");
    let device = &details[0]["device"];
    assert_eq!(
        (&device["hostname"], &device["os"], &device["source"]),
        (&"laptop".into(), &"linux".into(), &"192.0.2.7".into())
    );
    let key = device["machine_key"].as_str().unwrap();
    assert!(key.starts_with("mkey:00000001") && key.len() == 69, "{key}");
}
