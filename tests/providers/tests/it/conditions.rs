//! Conditions on logins, with Keycloak and one-time codes.

use bowline_proto::identity::v1::{
    AddConditionRequest, Condition, ConditionScope, Connection, CreateConnectionRequest, Device,
    ExplainConditionsRequest, ListUsersRequest, Login, LoginState, OidcProvider,
    RemoveConditionRequest, Role, StartLoginRequest,
    condition_service_client::ConditionServiceClient, connection::Provider,
    connection_service_client::ConnectionServiceClient, login_service_client::LoginServiceClient,
    user_service_client::UserServiceClient,
};
use bowline_providers::{KeycloakAdmin, Page, TestBrowser, TestOrganisation, one_time_code};
use bowline_service_kit::ServiceName;
use bowline_test_servers::TestDatabase;

const CLIENT: &str = "bowline-strong";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn login_needs_what_its_conditions_ask_for() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let admin = KeycloakAdmin::log_in(corp.keycloak);
    admin.add_client_with_classes(CLIENT, "secret", "http://127.0.0.1:");
    admin.add_person_with_codes("noa");
    let connection = connect(&corp).await;
    second_factor_is_asked_for_once_the_person_is_known(&corp, &connection).await;
    condition_for_everyone_is_asked_for_at_first(&corp, &connection).await;
    tag_that_a_device_asks_for_has_conditions_of_its_own(&corp, &connection).await;
    saml_provider_is_asked_once_more_and_then_refused(&corp).await;
}

async fn connect(corp: &TestOrganisation) -> Connection {
    let connection = Connection {
        tailnet_id: corp.services.tailnet,
        name: "Strong".to_owned(),
        domains: vec!["corp.example".to_owned()],
        provider: Some(Provider::Oidc(OidcProvider {
            issuer: corp.keycloak.issuer(),
            client_id: CLIENT.to_owned(),
            ..OidcProvider::default()
        })),
        ..Connection::default()
    };
    let request = CreateConnectionRequest {
        connection: Some(connection),
        client_secret: "secret".to_owned(),
        ..CreateConnectionRequest::default()
    };
    let mut client = ConnectionServiceClient::new(corp.services.admin());
    let made = client.create_connection(request).await.unwrap();
    made.into_inner().connection.unwrap()
}

fn conditions(corp: &TestOrganisation) -> ConditionServiceClient<bowline_service_kit::GrpcChannel> {
    ConditionServiceClient::new(corp.services.admin())
}

async fn add(corp: &TestOrganisation, condition: Condition) -> Condition {
    let condition = Some(Condition {
        tailnet_id: corp.services.tailnet,
        ..condition
    });
    let request = AddConditionRequest { condition };
    let added = conditions(corp).add_condition(request).await.unwrap();
    added.into_inner().condition.unwrap()
}

async fn remove(corp: &TestOrganisation, condition: &Condition) {
    let request = RemoveConditionRequest {
        tailnet_id: condition.tailnet_id,
        condition_id: condition.id,
    };
    conditions(corp).remove_condition(request).await.unwrap();
}

async fn user_id(corp: &TestOrganisation, login_name: &str) -> Option<u64> {
    let mut client = UserServiceClient::new(corp.services.admin());
    let request = ListUsersRequest {
        tailnet_id: corp.services.tailnet,
        ..ListUsersRequest::default()
    };
    let users = client.list_users(request).await.unwrap().into_inner().users;
    let found = users.into_iter().find(|user| user.login_name == login_name);
    found.map(|user| user.id)
}

/// Answers what the provider asks until it sends the browser back. Returns how often it asked for a code, and where to.
fn prove(browser: &TestBrowser, mut page: Page, person: &str) -> (usize, String) {
    let mut codes = 0;
    while page.status != 302 {
        let action = page.attribute("action=\"");
        page = if page.body.contains("name=\"otp\"") {
            codes += 1;
            assert!(codes < 3, "{}", page.body);
            browser.post(&action, "null", &[("otp", &one_time_code())])
        } else {
            let fields = [("username", person), ("password", "password")];
            browser.post(&action, "null", &fields)
        };
    }
    (codes, page.location)
}

fn begin(
    corp: &TestOrganisation,
    browser: &TestBrowser,
    login: &Login,
    connection: &Connection,
) -> String {
    let url = corp.url(&format!("/register/{}", login.id));
    let number = connection.id.to_string();
    let sent = browser.post(&url, &corp.origin, &[("connection", &number)]);
    sent.attribute("content=\"0; url=")
}

fn press_step_up(corp: &TestOrganisation, browser: &TestBrowser, page: &Page) -> Page {
    let url = corp.url(&page.attribute("action=\""));
    let token = page.attribute("name=\"token\" value=\"");
    browser.post(&url, &corp.origin, &[("token", &token)])
}

async fn second_factor_is_asked_for_once_the_person_is_known(
    corp: &TestOrganisation,
    connection: &Connection,
) {
    let gold = Condition {
        scope: ConditionScope::Role.into(),
        role: Role::Member.into(),
        acr: vec!["gold".to_owned()],
        ..Condition::default()
    };
    let gold = add(corp, gold).await;
    let (login, browser) = (corp.start_login(1).await, TestBrowser::open());
    let (codes, back) = prove(
        &browser,
        browser.get(&begin(corp, &browser, &login, connection)),
        "noa",
    );
    assert_eq!(codes, 0, "nothing is asked for yet");
    let page = corp.follow(&browser, back.strip_prefix(&corp.origin).unwrap());
    page.assert_shows(200, "One more step");
    assert_eq!(
        user_id(corp, "noa@corp.example").await,
        None,
        "nobody is made"
    );
    let decide = corp.url(&page.attribute("action=\"").replace("/step-up", ""));
    let token = page.attribute("name=\"token\" value=\"");
    let fields = [("token", &*token), ("decision", "approve")];
    assert_ne!(browser.post(&decide, &corp.origin, &fields).status, 303);
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Pending
    );

    // A browser that leaves out what is asked for comes back with the first factor alone.
    let sent = press_step_up(corp, &browser, &page);
    let url = sent.attribute("content=\"0; url=");
    assert!(
        url.contains("acr_values=gold") && url.contains("prompt=login"),
        "{url}"
    );
    let url = url
        .replace("acr_values=gold", "")
        .replace("prompt=login", "");
    let (codes, back) = prove(&browser, browser.get(&url), "noa");
    assert_eq!(codes, 0);
    browser.get(&back).assert_shows(403, "stronger login");
    // A login that was refused leaves nothing that could go on.
    press_step_up(corp, &browser, &page).assert_shows(404, "Not found");

    // With the second factor the device is let in.
    let (_, back) = prove(
        &browser,
        browser.get(&begin(corp, &browser, &login, connection)),
        "noa",
    );
    let page = corp.follow(&browser, back.strip_prefix(&corp.origin).unwrap());
    page.assert_shows(200, "One more step");
    let sent = press_step_up(corp, &browser, &page);
    let (codes, back) = prove(
        &browser,
        browser.get(&sent.attribute("content=\"0; url=")),
        "noa",
    );
    assert_eq!(codes, 1);
    let page = corp.follow(&browser, back.strip_prefix(&corp.origin).unwrap());
    page.assert_shows(200, "Is this your device?");
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");

    let noa = user_id(corp, "noa@corp.example").await.unwrap();
    let request = ExplainConditionsRequest {
        tailnet_id: corp.services.tailnet,
        user_id: noa,
    };
    let explained = conditions(corp).explain_conditions(request).await.unwrap();
    let explained = explained.into_inner().conditions;
    assert_eq!(explained.len(), 1);
    assert_eq!(explained[0].occasion, "always: because of the role");
    remove(corp, &gold).await;
    let page = corp.log_in(&browser, &corp.start_login(2).await, connection, "noa");
    page.assert_shows(200, "Is this your device?");
}

async fn condition_for_everyone_is_asked_for_at_first(
    corp: &TestOrganisation,
    connection: &Connection,
) {
    let everyone = Condition {
        scope: ConditionScope::Everyone.into(),
        acr: vec!["gold".to_owned()],
        max_age: Some(prost_types::Duration {
            seconds: 900,
            nanos: 0,
        }),
        ..Condition::default()
    };
    let everyone = add(corp, everyone).await;
    let (login, browser) = (corp.start_login(3).await, TestBrowser::open());
    let url = begin(corp, &browser, &login, connection);
    assert!(
        url.contains("acr_values=gold") && url.contains("max_age=900"),
        "{url}"
    );
    remove(corp, &everyone).await;
}

async fn tag_that_a_device_asks_for_has_conditions_of_its_own(
    corp: &TestOrganisation,
    connection: &Connection,
) {
    let inside = Condition {
        scope: ConditionScope::Tag.into(),
        tag: "tag:prod".to_owned(),
        networks: vec!["198.51.100.0/24".to_owned()],
        ..Condition::default()
    };
    let inside = add(corp, inside).await;
    let browser = TestBrowser::open();
    let mut page = None;
    for (number, source) in [(4, "192.0.2.4"), (5, "198.51.100.5")] {
        let device = Device {
            hostname: format!("server-{number}"),
            source_address: source.to_owned(),
            requested_tags: vec!["tag:prod".to_owned()],
            advertised_routes: vec!["10.1.0.0/16".to_owned()],
            ..Device::default()
        };
        let request = StartLoginRequest {
            machine_key: vec![number; 32],
            node_key: vec![number + 100; 32],
            device: Some(device),
        };
        let mut client = LoginServiceClient::new(corp.services.service(ServiceName::KeyRegistry));
        let login = client
            .start_login(request)
            .await
            .unwrap()
            .into_inner()
            .login
            .unwrap();
        page = Some(corp.log_in(&browser, &login, connection, "kim"));
        if number == 4 {
            page.take()
                .unwrap()
                .assert_shows(403, "only from its own networks");
        }
    }
    let page = page.unwrap();
    page.assert_shows(200, "tag:prod");
    page.assert_shows(200, "10.1.0.0/16");
    page.assert_shows(200, "You may not give the tags tag:prod.");
    page.assert_shows(200, "Routes that an administrator has to approve");
    assert!(!page.body.contains("Let this device in"), "{}", page.body);
    corp.services
        .set_policy(
            r#"{"tagOwners": {"tag:prod": ["autogroup:member"]},
                "autoApprovers": {"routes": {"10.1.0.0/16": ["tag:prod"]}},
                "acls": []}"#,
        )
        .await;
    let page = browser.get(&corp.url(&page.attribute("action=\"")));
    page.assert_shows(200, "Let this device in");
    for gone in ["You may not give", "has to approve"] {
        assert!(!page.body.contains(gone), "{}", page.body);
    }
    let login = corp.start_login(6).await;
    corp.log_in(&browser, &login, connection, "kim")
        .assert_shows(200, "Is this your device?");
    remove(corp, &inside).await;
}

async fn saml_provider_is_asked_once_more_and_then_refused(corp: &TestOrganisation) {
    let by_saml = Connection {
        name: "By SAML".to_owned(),
        domains: vec!["corp.example".to_owned()],
        ..Connection::default()
    };
    let by_saml = corp.connect_saml(by_saml).await;
    let card = Condition {
        scope: ConditionScope::Everyone.into(),
        authn_contexts: vec!["urn:oasis:names:tc:SAML:2.0:ac:classes:X509".to_owned()],
        ..Condition::default()
    };
    let card = add(corp, card).await;
    let (login, browser) = (corp.start_login(7).await, TestBrowser::open());
    let page = corp.log_in_by_saml(&browser, &login, &by_saml, "kim");
    page.assert_shows(200, "One more step");
    let sent = press_step_up(corp, &browser, &page);
    let asked = browser.get(&sent.attribute("content=\"0; url="));
    asked.assert_shows(200, "name=\"password\"");
    let fields = [("username", "kim"), ("password", "password")];
    let answered = browser.post(&asked.attribute("action=\""), "null", &fields);
    let posted = corp.post_answer(&bowline_providers::SamlForm::read(&answered));
    corp.follow(&browser, &posted.location)
        .assert_shows(403, "stronger login");
    remove(corp, &card).await;
    corp.log_in_by_saml(&browser, &login, &by_saml, "kim")
        .assert_shows(200, "Is this your device?");
}
