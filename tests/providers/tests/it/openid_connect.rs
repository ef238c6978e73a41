//! OpenID Connect, with Keycloak.

use bowline_proto::identity::v1::{
    Admission, ListUsersRequest, LoginState, UpdateUserRequest, User,
    user_service_client::UserServiceClient,
};
use bowline_providers::{TestBrowser, TestOrganisation};
use bowline_test_servers::TestDatabase;
use prost_types::FieldMask;

/// One test: Keycloak takes long to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_log_in_by_keycloak_and_let_their_devices_in() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    person_lets_the_device_in_once(&corp).await;
    device_that_is_not_mine_is_turned_away(&corp).await;
    answer_of_the_provider_is_taken_once_and_in_its_own_browser(&corp).await;
    answer_of_another_provider_is_refused(&corp).await;
    form_of_another_site_or_browser_decides_nothing(&corp).await;
    unverified_address_is_nobody(&corp).await;
    existing_user_is_taken_over_only_where_the_connection_may(&corp).await;
    those_who_are_not_admitted_are_told_so(&corp).await;
    suspended_user_is_told_so(&corp).await;
    attempts_of_one_device_are_bounded(&corp).await;
}

async fn users(corp: &TestOrganisation) -> Vec<User> {
    let mut client = UserServiceClient::new(corp.services.admin());
    let request = ListUsersRequest {
        tailnet_id: corp.services.tailnet,
        ..ListUsersRequest::default()
    };
    client.list_users(request).await.unwrap().into_inner().users
}

async fn find_user(corp: &TestOrganisation, login_name: &str) -> Option<User> {
    users(corp)
        .await
        .into_iter()
        .find(|user| user.login_name == login_name)
}

async fn set_suspended(corp: &TestOrganisation, user: User, suspended: bool) {
    let request = UpdateUserRequest {
        user: Some(User { suspended, ..user }),
        update_mask: Some(FieldMask {
            paths: vec!["suspended".to_owned()],
        }),
    };
    UserServiceClient::new(corp.services.admin())
        .update_user(request)
        .await
        .unwrap();
}

async fn person_lets_the_device_in_once(corp: &TestOrganisation) {
    let connection = corp.connect("Corp", &[], Admission::default()).await;
    let (login, browser) = (corp.start_login(1).await, TestBrowser::open());
    let choices = browser.get(&corp.url(&format!("/register/{}", login.id)));
    choices.assert_shows(200, "laptop-1");
    choices.assert_shows(200, "Log in with Corp");

    let page = corp.log_in(&browser, &login, &connection, "kim");
    page.assert_shows(200, "Is this your device?");
    page.assert_shows(200, "Kim Example (kim@corp.example)");
    page.assert_shows(200, "192.0.2.1");
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Pending,
        "seeing it approves nothing"
    );

    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
    let kim = find_user(corp, "kim@corp.example").await.unwrap();
    let decided = corp.find_login(&login.id).await;
    assert_eq!(
        (decided.state(), decided.user_id),
        (LoginState::Approved, kim.id)
    );

    // The button pressed again, or the other one, changes nothing.
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
    corp.press(&browser, &page, "deny")
        .assert_shows(403, "decided already");
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Approved
    );

    // Another device is the same user's.
    let login = corp.start_login(2).await;
    let page = corp.log_in(&browser, &login, &connection, "kim");
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
    assert_eq!(corp.find_login(&login.id).await.user_id, kim.id);
}

async fn device_that_is_not_mine_is_turned_away(corp: &TestOrganisation) {
    let connection = corp.connect("Deny", &[], Admission::default()).await;
    let login = corp.start_login(3).await;
    let browser = TestBrowser::open();
    // The same address is another person at another connection: there is a user of that name already.
    corp.log_in(&browser, &login, &connection, "kim")
        .assert_shows(403, "logs in another way");
    let linked = corp
        .connect("Deny linked", &["corp.example"], Admission::default())
        .await;
    let page = corp.log_in(&browser, &login, &linked, "kim");
    corp.press(&browser, &page, "deny")
        .assert_shows(200, "The device was turned away");
    let decided = corp.find_login(&login.id).await;
    assert_eq!(decided.state(), LoginState::Denied);
    assert!(
        decided.denial.contains("kim@corp.example"),
        "{}",
        decided.denial
    );
}

async fn answer_of_the_provider_is_taken_once_and_in_its_own_browser(corp: &TestOrganisation) {
    let connection = corp
        .connect("Once", &["corp.example"], Admission::default())
        .await;
    let (login, browser) = (corp.start_login(4).await, TestBrowser::open());
    let back = corp.prove_person(&browser, &login, &connection, "kim");

    TestBrowser::open()
        .get(&back)
        .assert_shows(403, "Cookies are needed");
    let other = TestBrowser::open();
    let other_login = corp.start_login(5).await;
    drop(corp.prove_person(&other, &other_login, &connection, "kim"));
    other.get(&back).assert_shows(404, "Not found");

    // Two at once: one of them wins.
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| browser.get(&back).status);
        let two = browser.get(&back).status;
        (one.join().unwrap(), two)
    });
    assert_eq!(
        [one, two].iter().filter(|status| **status == 303).count(),
        1,
        "{one} {two}"
    );
    browser.get(&back).assert_shows(403, "used already");
    let invented = corp.url("/login/callback?state=invented&code=x");
    browser.get(&invented).assert_shows(404, "Not found");
}

async fn answer_of_another_provider_is_refused(corp: &TestOrganisation) {
    let connection = corp
        .connect("Mix-up", &["corp.example"], Admission::default())
        .await;
    let (login, browser) = (corp.start_login(6).await, TestBrowser::open());
    let back = corp.prove_person(&browser, &login, &connection, "kim");
    let (before, after) = back.split_once("iss=").unwrap();
    let rest = after.split_once('&').map_or("", |(_, rest)| rest);
    let mixed = format!("{before}iss=https%3A%2F%2Fother.example&{rest}");
    browser.get(&mixed).assert_shows(403, "other.example");

    // A code that the provider did not make.
    let back = corp.prove_person(&browser, &login, &connection, "kim");
    let (before, _) = back.split_once("code=").unwrap();
    browser
        .get(&format!("{before}code=invented"))
        .assert_shows(403, "does not take the code");

    // The provider's own refusal is told.
    let back = corp.prove_person(&browser, &login, &connection, "kim");
    let (before, _) = back.split_once("code=").unwrap();
    let denied = browser.get(&format!("{before}error=access_denied"));
    denied.assert_shows(403, "The login was cancelled");
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Pending
    );
}

async fn form_of_another_site_or_browser_decides_nothing(corp: &TestOrganisation) {
    let connection = corp
        .connect("Forms", &["corp.example"], Admission::default())
        .await;
    let (login, browser) = (corp.start_login(7).await, TestBrowser::open());
    let page = corp.log_in(&browser, &login, &connection, "kim");
    let url = corp.url(&page.attribute("action=\""));
    let token = page.attribute("name=\"token\" value=\"");
    let fields = [("token", &*token), ("decision", "approve")];
    browser
        .post(&url, "https://evil.example", &fields)
        .assert_shows(403, "another site");
    browser
        .post(&url, "null", &fields)
        .assert_shows(403, "another site");
    browser
        .post(
            &url,
            &corp.origin,
            &[("token", "x"), ("decision", "approve")],
        )
        .assert_shows(403, "another site");
    TestBrowser::open()
        .post(&url, &corp.origin, &fields)
        .assert_shows(403, "Cookies are needed");
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Pending
    );
    let by_name = url.replace("127.0.0.1", "localhost");
    browser.get(&by_name).assert_shows(421, "Another address");
}

async fn unverified_address_is_nobody(corp: &TestOrganisation) {
    let connection = corp
        .connect("Unverified", &["corp.example"], Admission::default())
        .await;
    let (login, browser) = (corp.start_login(8).await, TestBrowser::open());
    let page = corp.log_in(&browser, &login, &connection, "lou");
    // Without an address that counts, the person is named at the provider's host, which is nobody's mail domain.
    page.assert_shows(200, "lou@127.0.0.1");
    assert!(find_user(corp, "lou@corp.example").await.is_none());
}

async fn existing_user_is_taken_over_only_where_the_connection_may(corp: &TestOrganisation) {
    let amira = corp.services.user.clone();
    let connection = corp
        .connect("Elsewhere", &["corp.example"], Admission::default())
        .await;
    let (login, browser) = (corp.start_login(9).await, TestBrowser::open());
    let refused = corp.log_in(&browser, &login, &connection, "amira");
    refused.assert_shows(403, "logs in another way");

    // Where the connection answers for the domain of her address, she is that user.
    let mine = corp
        .connect("Mine", &["example.com"], Admission::default())
        .await;
    let page = corp.log_in(&browser, &login, &mine, "amira");
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
    assert_eq!(corp.find_login(&login.id).await.user_id, amira.id);
}

async fn those_who_are_not_admitted_are_told_so(corp: &TestOrganisation) {
    let browser = TestBrowser::open();
    let login = corp.start_login(10).await;
    let only = |admission| corp.connect_only(admission);
    let groups = Admission {
        groups: vec!["ops".to_owned()],
        ..Admission::default()
    };
    let connection = only(groups).await;
    corp.log_in(&browser, &login, &connection, "kim")
        .assert_shows(403, "none of the groups");
    let domains = Admission {
        domains: vec!["example.org".to_owned()],
        ..Admission::default()
    };
    let connection = only(domains).await;
    corp.log_in(&browser, &login, &connection, "kim")
        .assert_shows(403, "not in a domain");
    let groups = Admission {
        groups: vec!["dev".to_owned()],
        ..Admission::default()
    };
    let connection = only(groups).await;
    corp.log_in(&browser, &login, &connection, "kim")
        .assert_shows(200, "Is this your device?");
}

async fn suspended_user_is_told_so(corp: &TestOrganisation) {
    let connection = corp
        .connect("Suspended", &["corp.example"], Admission::default())
        .await;
    let kim = find_user(corp, "kim@corp.example").await.unwrap();
    let (login, browser) = (corp.start_login(11).await, TestBrowser::open());
    let page = corp.log_in(&browser, &login, &connection, "kim");
    set_suspended(corp, kim.clone(), true).await;
    // Suspended between the two pages: the device does not get in.
    corp.press(&browser, &page, "approve")
        .assert_shows(403, "suspended");
    corp.log_in(&browser, &login, &connection, "kim")
        .assert_shows(403, "suspended");
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Pending
    );
    set_suspended(corp, kim, false).await;
    let page = corp.log_in(&browser, &login, &connection, "kim");
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
}

async fn attempts_of_one_device_are_bounded(corp: &TestOrganisation) {
    let connection = corp.connect("Bounded", &[], Admission::default()).await;
    let login = corp.start_login(12).await;
    let url = corp.url(&format!("/register/{}", login.id));
    let number = connection.id.to_string();
    for attempt in 0..=20 {
        let sent = TestBrowser::open().post(&url, &corp.origin, &[("connection", &number)]);
        let expected = if attempt < 20 { 200 } else { 429 };
        assert_eq!(sent.status, expected, "attempt {attempt}");
    }
    let wrong = TestBrowser::open().post(&url, &corp.origin, &[("connection", "999999")]);
    assert_eq!(wrong.status, 404);
}
