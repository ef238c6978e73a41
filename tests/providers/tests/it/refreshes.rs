//! Whether Keycloak still vouches for people who have logged in.

use std::time::Duration;

use bowline_proto::identity::v1::{
    Connection, ListUsersRequest, LoginEndEffect, RefreshConnectionRequest, User,
    connection_service_client::ConnectionServiceClient, user_service_client::UserServiceClient,
};
use bowline_providers::{KeycloakAdmin, TestBrowser, TestOrganisation};
use bowline_test_servers::TestDatabase;
use tokio::time::{Instant, sleep};

/// How long what happens in the background may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn provider_that_is_asked_again_takes_groups_and_people_back() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let admin = KeycloakAdmin::log_in(corp.keycloak);
    admin.add_group("oncall");
    for name in ["rae", "sol"] {
        admin.add_user(name, &format!("{name}@corp.example"));
        admin.join(name, "oncall");
    }
    let strict = connect(&corp, "Strict", LoginEndEffect::Suspend).await;
    let mild = connect(&corp, "Mild", LoginEndEffect::Sessions).await;
    let (rae, sol) = (TestBrowser::open(), TestBrowser::open());
    corp.sign_in(&rae, &strict, "rae")
        .assert_shows(200, "Your devices");
    corp.sign_in(&sol, &mild, "sol")
        .assert_shows(200, "Your devices");
    assert_eq!(find_user(&corp, "rae").await.groups, ["oncall"]);

    admin.leave("rae", "oncall");
    await_user(&corp, &strict, "rae", |user| user.groups.is_empty()).await;
    rae.get(&corp.url("/admin"))
        .assert_shows(200, "Your devices");

    for name in ["rae", "sol"] {
        admin.set_enabled(name, false);
    }
    await_user(&corp, &strict, "rae", |user| user.suspended).await;
    await_end(&corp, &mild, &sol).await;
    rae.get(&corp.url("/admin"))
        .assert_shows(200, "Log in to Bowline");
    assert_eq!(
        find_user(&corp, "rae").await.suspended_by_connection_id,
        strict.id
    );
    let sol = find_user(&corp, "sol").await;
    assert_eq!(
        (sol.suspended, &*sol.groups),
        (false, &["oncall".to_owned()][..])
    );

    // A login is the provider's word again.
    admin.set_enabled("rae", true);
    corp.sign_in(&rae, &strict, "rae")
        .assert_shows(200, "Your devices");
    assert!(!find_user(&corp, "rae").await.suspended);
}

/// Makes a connection whose provider is asked again.
async fn connect(corp: &TestOrganisation, name: &str, effect: LoginEndEffect) -> Connection {
    let connection = corp.connect_as(name, "secret-of-the-client", |oidc| {
        oidc.refresh_interval = Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        });
        oidc.on_refusal = effect.into();
    });
    connection.await
}

async fn find_user(corp: &TestOrganisation, name: &str) -> User {
    let mut client = UserServiceClient::new(corp.services.admin());
    let request = ListUsersRequest {
        tailnet_id: corp.services.tailnet,
        ..ListUsersRequest::default()
    };
    let users = client.list_users(request).await.unwrap().into_inner().users;
    let login_name = format!("{name}@corp.example");
    let found = users.into_iter().find(|user| user.login_name == login_name);
    found.unwrap()
}

/// Lets the provider be asked now about everybody who is not asked about at the moment.
async fn hasten(corp: &TestOrganisation, connection: &Connection) {
    let request = RefreshConnectionRequest {
        tailnet_id: corp.services.tailnet,
        connection_id: connection.id,
    };
    let mut client = ConnectionServiceClient::new(corp.services.admin());
    client.refresh_connection(request).await.unwrap();
}

/// Lets the provider be asked until what it says has come to a user.
async fn await_user(
    corp: &TestOrganisation,
    connection: &Connection,
    name: &str,
    is_so: impl Fn(&User) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(&find_user(corp, name).await) {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            find_user(corp, name).await
        );
        hasten(corp, connection).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Lets the provider be asked until a browser's session has ended.
async fn await_end(corp: &TestOrganisation, connection: &Connection, browser: &TestBrowser) {
    let deadline = Instant::now() + PATIENCE;
    let is_out = || {
        let page = browser.get(&corp.url("/admin"));
        page.body.contains("Log in to Bowline")
    };
    while !is_out() {
        assert!(Instant::now() < deadline, "the session goes on");
        hasten(corp, connection).await;
        sleep(Duration::from_millis(200)).await;
    }
}
