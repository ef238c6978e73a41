//! Logouts at the provider and here, with Keycloak.

use std::time::Duration;

use bowline_proto::{
    addresses::back_channel_logout_path,
    identity::v1::{
        Connection, ListUsersRequest, LoginEndEffect, User, user_service_client::UserServiceClient,
    },
};
use bowline_providers::{KeycloakAdmin, TestBrowser, TestOrganisation};
use bowline_test_servers::TestDatabase;
use tokio::time::{Instant, sleep};

/// How long what happens at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logout_at_the_provider_is_one_here_and_the_other_way_round() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let admin = KeycloakAdmin::log_in(corp.keycloak);
    for name in ["uma", "vic", "wes"] {
        admin.add_user(name, &format!("{name}@corp.example"));
    }
    logout_at_the_provider_ends_the_session(&corp, &admin).await;
    logout_at_the_provider_suspends_where_the_connection_says_so(&corp, &admin).await;
    logout_here_is_one_at_the_provider(&corp, &admin).await;
    what_is_no_logout_token_ends_nothing(&corp);
}

/// Makes a connection whose provider tells of logouts.
async fn connect(
    corp: &TestOrganisation,
    admin: &KeycloakAdmin,
    client_id: &str,
    effect: LoginEndEffect,
) -> Connection {
    let secret = "secret-of-logouts";
    let connection = corp.connect_as(client_id, secret, |oidc| {
        oidc.client_id = client_id.to_owned();
        oidc.on_logout = effect.into();
    });
    let connection = connection.await;
    let url = corp.url(&back_channel_logout_path(connection.id));
    admin.add_client_with_logout(client_id, secret, &url);
    connection
}

async fn find_user(corp: &TestOrganisation, login_name: &str) -> User {
    let mut client = UserServiceClient::new(corp.services.admin());
    let request = ListUsersRequest {
        tailnet_id: corp.services.tailnet,
        ..ListUsersRequest::default()
    };
    let users = client.list_users(request).await.unwrap().into_inner().users;
    let found = users.into_iter().find(|user| user.login_name == login_name);
    found.unwrap()
}

/// Waits until a browser's session has ended.
async fn await_end(corp: &TestOrganisation, browser: &TestBrowser) {
    let deadline = Instant::now() + PATIENCE;
    while !browser
        .get(&corp.url("/admin"))
        .body
        .contains("Log in to Bowline")
    {
        assert!(Instant::now() < deadline, "the session goes on");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn logout_at_the_provider_ends_the_session(corp: &TestOrganisation, admin: &KeycloakAdmin) {
    let connection = connect(corp, admin, "logout", LoginEndEffect::Sessions).await;
    let (uma, vic) = (TestBrowser::open(), TestBrowser::open());
    corp.sign_in(&uma, &connection, "uma")
        .assert_shows(200, "Your devices");
    corp.sign_in(&vic, &connection, "vic")
        .assert_shows(200, "Your devices");
    admin.log_out_user("uma");
    await_end(corp, &uma).await;
    vic.get(&corp.url("/admin"))
        .assert_shows(200, "Your devices");
    assert!(!find_user(corp, "uma@corp.example").await.suspended);
}

async fn logout_at_the_provider_suspends_where_the_connection_says_so(
    corp: &TestOrganisation,
    admin: &KeycloakAdmin,
) {
    let connection = connect(corp, admin, "logout-strictly", LoginEndEffect::Suspend).await;
    let browser = TestBrowser::open();
    corp.sign_in(&browser, &connection, "uma")
        .assert_shows(200, "Your devices");
    admin.log_out_user("uma");
    await_end(corp, &browser).await;
    let suspended = find_user(corp, "uma@corp.example").await;
    assert!(suspended.suspended, "{suspended:?}");
    corp.sign_in(&browser, &connection, "uma")
        .assert_shows(200, "Your devices");
    assert!(!find_user(corp, "uma@corp.example").await.suspended);
}

async fn logout_here_is_one_at_the_provider(corp: &TestOrganisation, admin: &KeycloakAdmin) {
    let connection = connect(corp, admin, "logout-here", LoginEndEffect::Sessions).await;
    let browser = TestBrowser::open();
    let page = corp.sign_in(&browser, &connection, "wes");
    page.assert_shows(200, "Your devices");
    let token = page.attribute("name=\"token\" value=\"");
    let url = corp.url("/admin/sign-out");
    let sent = browser.post(&url, &corp.origin, &[("token", &token)]);
    sent.assert_shows(200, "http-equiv=\"refresh\"");
    let back = browser.get(&sent.attribute("content=\"0; url="));
    assert_eq!(back.status, 302, "the provider asks nothing: {}", back.body);
    assert!(
        back.location.starts_with(&corp.url("/login/callback")),
        "{}",
        back.location
    );
    browser
        .get(&back.location)
        .assert_shows(200, "You are logged out");
    await_end(corp, &browser).await;

    // The provider asks for the password again.
    let started = browser.post(&corp.url("/admin/sign-in"), &corp.origin, &[]);
    let number = connection.id.to_string();
    let chosen = browser.post(
        &corp.url(&started.location),
        &corp.origin,
        &[("connection", &number)],
    );
    let form = browser.get(&chosen.attribute("content=\"0; url="));
    form.assert_shows(200, "password");
}

fn what_is_no_logout_token_ends_nothing(corp: &TestOrganisation) {
    let browser = TestBrowser::open();
    for (path, fields, expected) in [
        ("/logout/back-channel/1", vec![], "logout_token"),
        (
            "/logout/back-channel/x",
            vec![("logout_token", "a.b.c")],
            "logout_token",
        ),
        (
            "/logout/back-channel/999999",
            vec![("logout_token", "a.b.c")],
            "no such",
        ),
    ] {
        let answer = browser.post(&corp.url(path), &corp.origin, &fields);
        answer.assert_shows(400, expected);
        answer.assert_shows(400, "invalid_request");
    }
}
