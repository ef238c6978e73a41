//! SAML with another provider than Keycloak, without it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_proto::identity::v1::{
    AddConditionRequest, Condition, ConditionScope, Connection, CreateConnectionRequest, Device,
    GetLoginRequest, ListSessionsRequest, Login, LoginState, Role, SamlProvider, StartLoginRequest,
    UpdateConnectionRequest, UpdateUserRequest, User,
    condition_service_client::ConditionServiceClient, connection::Provider,
    connection_service_client::ConnectionServiceClient, login_service_client::LoginServiceClient,
    session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
};
use bowline_providers::{Page, SamlForm, TestBrowser, start_portal};
use bowline_service_kit::ServiceName;
use bowline_test_browser::TestChromium;
use bowline_test_servers::{SamlpServer, TestDatabase, on_both};
use bowline_test_support::TestServices;
use prost_types::FieldMask;

/// Services and a portal, with a provider.
struct TestService {
    services: TestServices,
    provider: SamlpServer,
    origin: String,
    connection: Connection,
}

impl TestService {
    async fn start(database: TestDatabase) -> Option<Self> {
        Self::start_at(database, "127.0.0.1").await
    }

    /// Starts them with a portal that browsers reach by a host name.
    async fn start_at(database: TestDatabase, host: &str) -> Option<Self> {
        let provider = SamlpServer::start().unwrap()?;
        let services = TestServices::start(database).await;
        let origin = start_portal(&services, host).await;
        let saml = SamlProvider {
            metadata_url: provider.metadata_url(),
            ..SamlProvider::default()
        };
        let connection = Connection {
            tailnet_id: services.tailnet,
            name: "Corp".to_owned(),
            provider: Some(Provider::Saml(saml)),
            ..Connection::default()
        };
        let request = CreateConnectionRequest {
            connection: Some(connection),
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(services.admin());
        let made = client.create_connection(request).await.unwrap();
        Some(Self {
            connection: made.into_inner().connection.unwrap(),
            services,
            provider,
            origin,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    async fn start_login(&self, number: u8) -> Login {
        let request = StartLoginRequest {
            machine_key: vec![number; 32],
            node_key: vec![number + 100; 32],
            device: Some(Device {
                hostname: format!("laptop-{number}"),
                ..Device::default()
            }),
        };
        let registry = self.services.service(ServiceName::KeyRegistry);
        let mut client = LoginServiceClient::new(registry);
        let started = client.start_login(request).await.unwrap();
        started.into_inner().login.unwrap()
    }

    /// Goes to the provider with a request, says a name there, and returns what it lets the browser post.
    async fn prove_person(&self, browser: &TestBrowser, number: u8, person: &str) -> SamlForm {
        let login = self.start_login(number).await;
        let url = self.url(&format!("/register/{}", login.id));
        let chosen = self.connection.id.to_string();
        let sent = browser.post(&url, &self.origin, &[("connection", &chosen)]);
        sent.assert_shows(200, "http-equiv=\"refresh\"");
        let asked = browser.get(&sent.attribute("content=\"0; url="));
        asked.assert_shows(200, "Sign in");
        let place = asked.attribute("action=\"");
        let url = format!("{}{place}", self.provider.origin());
        let answered = browser.post(&url, &self.provider.origin(), &[("user", person)]);
        answered.assert_shows(200, "SAMLResponse");
        SamlForm::read(&answered)
    }

    /// Posts an answer as the provider's page does, and goes on with it in a browser.
    fn post(&self, browser: &TestBrowser, form: &SamlForm) -> Page {
        let mut page = self.post_only(form);
        while page.status == 303 {
            page = browser.get(&self.url(&page.location));
        }
        page
    }

    async fn load_metadata(&self) {
        let request = UpdateConnectionRequest {
            connection: Some(self.connection.clone()),
            update_mask: Some(FieldMask {
                paths: vec!["saml".to_owned(), "saml_metadata".to_owned()],
            }),
            ..UpdateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.services.admin());
        client.update_connection(request).await.unwrap();
    }

    async fn let_provider_begin(&self, accepts_unsolicited: bool) {
        let mut wanted = self.connection.clone();
        let Some(Provider::Saml(saml)) = &mut wanted.provider else {
            unreachable!()
        };
        saml.accepts_unsolicited = accepts_unsolicited;
        let request = UpdateConnectionRequest {
            connection: Some(wanted),
            update_mask: Some(FieldMask {
                paths: vec!["saml".to_owned()],
            }),
            ..UpdateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.services.admin());
        client.update_connection(request).await.unwrap();
    }

    fn tile_url(&self, person: &str, service: &str, acs: &str) -> String {
        let origin = self.provider.origin();
        format!("{origin}/tile?user={person}&service={service}&acs={acs}")
    }

    /// Presses a tile on the provider's page, which answers as a person without being asked.
    fn press_tile(&self, person: &str, service: &str, acs: &str) -> SamlForm {
        let page = TestBrowser::open().get(&self.tile_url(person, service, acs));
        page.assert_shows(200, "SAMLResponse");
        SamlForm::read(&page)
    }

    fn press_own_tile(&self, person: &str) -> SamlForm {
        self.press_tile(person, &self.entity_id(), &self.url("/saml/acs"))
    }

    fn entity_id(&self) -> String {
        self.url(&format!("/saml/{}/metadata", self.connection.id))
    }

    /// Posts an answer without going on. Returns the page, and where it leads to.
    fn post_only(&self, form: &SamlForm) -> Page {
        let fields = [
            ("SAMLResponse", &*form.answer),
            ("RelayState", &*form.relay_state),
        ];
        let acs = self.url("/saml/acs");
        TestBrowser::open().post(&acs, &self.provider.origin(), &fields)
    }

    fn press_button(&self, browser: &TestBrowser, page: &Page, decision: &str) -> Page {
        let url = self.url(&page.attribute("action=\""));
        let token = page.attribute("name=\"token\" value=\"");
        let fields = [("token", &*token), ("decision", decision)];
        let mut page = browser.post(&url, &self.origin, &fields);
        while page.status == 303 {
            page = browser.get(&self.url(&page.location));
        }
        page
    }

    async fn count_sessions(&self) -> usize {
        let request = ListSessionsRequest {
            tailnet_id: self.services.tailnet,
            user_id: 0,
        };
        let mut client = SessionServiceClient::new(self.services.admin());
        let listed = client.list_sessions(request).await.unwrap();
        listed.into_inner().sessions.len()
    }

    fn roll_key(&self) {
        let url = format!("{}/next-key", self.provider.origin());
        let rolled = TestBrowser::open().post(&url, "null", &[]);
        assert_eq!(rolled.status, 200);
    }
}

on_both!(TestService::start =>
    person_logs_in_by_another_provider_before_and_after_its_key_is_rolled,
    provider_begins_a_login_only_where_it_may,
    login_that_the_provider_begins_opens_a_session_once_the_person_says_so,
    administrator_whom_the_provider_sends_meets_the_conditions,
);

async fn person_logs_in_by_another_provider_before_and_after_its_key_is_rolled(
    test: Option<TestService>,
) {
    let Some(test) = test else {
        return;
    };
    let browser = TestBrowser::open();
    let form = test.prove_person(&browser, 1, "kim").await;
    let page = test.post(&browser, &form);
    page.assert_shows(200, "Is this your device?");
    page.assert_shows(200, "kim (kim@corp.example)");
    test.post(&browser, &form).assert_shows(403, "used already");

    let old = test.prove_person(&browser, 2, "kim").await;
    test.roll_key();
    let new = test.prove_person(&browser, 3, "kim").await;
    // It was loaded a moment ago, and is not loaded again for every answer that nobody can have signed.
    test.post(&browser, &new).assert_shows(403, "signature");
    test.load_metadata().await;
    test.post(&browser, &new)
        .assert_shows(200, "Is this your device?");
    test.post(&browser, &old).assert_shows(403, "signature");
}

async fn provider_begins_a_login_only_where_it_may(test: Option<TestService>) {
    let Some(test) = test else {
        return;
    };
    let tile = test.press_own_tile("kim");
    test.post_only(&tile)
        .assert_shows(403, "not at your provider");
    test.let_provider_begin(true).await;
    let browser = TestBrowser::open();
    let service = test.entity_id();
    let acs = test.url("/saml/acs");
    for (service, acs, words) in [
        (&*service, "https://other.example.com/acs", "not accepted"),
        ("https://other.example.com", &acs, "not at your provider"),
        (&test.url("/saml/99/metadata"), &acs, "not at your provider"),
        ("", &acs, "not at your provider"),
    ] {
        let other = test.press_tile("kim", service, acs);
        test.post_only(&other).assert_shows(403, words);
    }
    // A device that waits is not let in by it.
    let asked = test.prove_person(&browser, 1, "kim").await;
    let mixed = SamlForm {
        answer: test.press_own_tile("eve").answer,
        relay_state: asked.relay_state.clone(),
    };
    test.post_only(&mixed).assert_shows(403, "no request");
    // An answer to a request is not one to nothing.
    let forgotten = SamlForm {
        relay_state: String::new(),
        ..asked
    };
    test.post_only(&forgotten)
        .assert_shows(403, "not at your provider");
    let forged = SamlForm {
        answer: forge(&test.press_own_tile("kim").answer),
        relay_state: String::new(),
    };
    test.post_only(&forged).assert_shows(403, "signature");
    // What was kept before it was taken back goes on; nothing new does.
    test.let_provider_begin(false).await;
    test.post_only(&test.press_own_tile("kim"))
        .assert_shows(403, "not at your provider");
}

/// Returns an answer that says somebody else.
fn forge(answer: &str) -> String {
    let text = String::from_utf8(STANDARD.decode(answer).unwrap()).unwrap();
    let forged = text.replace("id-of-kim", "id-of-eve");
    assert_ne!(forged, text);
    STANDARD.encode(forged)
}

async fn login_that_the_provider_begins_opens_a_session_once_the_person_says_so(
    test: Option<TestService>,
) {
    let Some(test) = test else {
        return;
    };
    test.let_provider_begin(true).await;
    let browser = TestBrowser::open();
    // A device of this person waits meanwhile.
    let waiting = test.start_login(1).await;
    let tile = test.press_own_tile("kim");
    let taken = test.post_only(&tile);
    assert_eq!(taken.status, 303, "{}", taken.body);
    test.post_only(&tile).assert_shows(403, "used already");

    // The first browser that comes for it has it, and nothing is opened yet.
    let sent = browser.get(&test.url(&taken.location));
    assert_eq!(sent.status, 303, "{}", sent.body);
    let thief = TestBrowser::open();
    thief
        .get(&test.url(&taken.location))
        .assert_shows(404, "Not found");
    thief
        .get(&test.url(&sent.location))
        .assert_shows(403, "Cookies are needed");
    drop(test.post(&thief, &test.press_own_tile("eve")));
    thief
        .get(&test.url(&sent.location))
        .assert_shows(404, "Not found");
    let page = browser.get(&test.url(&sent.location));
    page.assert_shows(200, "Do you want to log in?");
    page.assert_shows(200, "kim (kim@corp.example)");
    browser
        .get(&test.url("/admin"))
        .assert_shows(200, "Log in to Bowline");
    assert_eq!(test.count_sessions().await, 0);

    // Another site can not press the button.
    let url = test.url(&page.attribute("action=\""));
    let token = page.attribute("name=\"token\" value=\"");
    let fields = [("token", &*token), ("decision", "approve")];
    browser
        .post(&url, "https://evil.example.com", &fields)
        .assert_shows(403, "Not from here");
    let fields = [("token", "invented"), ("decision", "approve")];
    browser
        .post(&url, &test.origin, &fields)
        .assert_shows(403, "Not from here");
    assert_eq!(test.count_sessions().await, 0);

    test.press_button(&browser, &page, "approve")
        .assert_shows(200, "Your devices");
    assert_eq!(test.count_sessions().await, 1);
    test.press_button(&browser, &page, "approve")
        .assert_shows(200, "Your devices");
    assert_eq!(test.count_sessions().await, 1, "once only");
    let request = GetLoginRequest {
        login_id: waiting.id,
    };
    let mut client = LoginServiceClient::new(test.services.admin());
    let device = client.get_login(request).await.unwrap().into_inner().login;
    assert_eq!(device.unwrap().state(), LoginState::Pending);

    // Whoever does not want it has no session.
    let browser = TestBrowser::open();
    let page = test.post(&browser, &test.press_own_tile("eve"));
    page.assert_shows(200, "eve (eve@corp.example)");
    test.press_button(&browser, &page, "deny")
        .assert_shows(200, "You are not logged in");
    test.press_button(&browser, &page, "approve")
        .assert_shows(403, "decided already");
    assert_eq!(test.count_sessions().await, 1);
}

async fn administrator_whom_the_provider_sends_meets_the_conditions(test: Option<TestService>) {
    let Some(test) = test else {
        return;
    };
    test.let_provider_begin(true).await;
    let browser = TestBrowser::open();
    let page = test.post(&browser, &test.press_own_tile("ida"));
    test.press_button(&browser, &page, "approve")
        .assert_shows(200, "Your devices");
    let request = ListSessionsRequest {
        tailnet_id: test.services.tailnet,
        user_id: 0,
    };
    let mut sessions = SessionServiceClient::new(test.services.admin());
    let listed = sessions.list_sessions(request).await.unwrap().into_inner();
    let request = UpdateUserRequest {
        user: Some(User {
            id: listed.sessions[0].user_id,
            tailnet_id: test.services.tailnet,
            role: Role::ItAdmin.into(),
            ..User::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["role".to_owned()],
        }),
    };
    let mut users = UserServiceClient::new(test.services.admin());
    users.update_user(request).await.unwrap();
    let condition = Condition {
        tailnet_id: test.services.tailnet,
        scope: ConditionScope::Administration.into(),
        authn_contexts: vec!["urn:oasis:names:tc:SAML:2.0:ac:classes:X509".to_owned()],
        ..Condition::default()
    };
    let request = AddConditionRequest {
        condition: Some(condition),
    };
    let mut conditions = ConditionServiceClient::new(test.services.admin());
    conditions.add_condition(request).await.unwrap();
    let page = test.post(&TestBrowser::open(), &test.press_own_tile("kim"));
    page.assert_shows(200, "Do you want to log in?");

    // The provider is asked for more, by the browser itself.
    let browser = TestBrowser::open();
    let page = test.post(&browser, &test.press_own_tile("ida"));
    page.assert_shows(200, "One more step");
    let url = test.url(&page.attribute("action=\""));
    let token = page.attribute("name=\"token\" value=\"");
    let sent = browser.post(&url, &test.origin, &[("token", &token)]);
    let asked = browser.get(&sent.attribute("content=\"0; url="));
    let place = asked.attribute("action=\"");
    let url = format!("{}{place}", test.provider.origin());
    let answered = browser.post(&url, &test.provider.origin(), &[("user", "ida")]);
    test.post(&browser, &SamlForm::read(&answered))
        .assert_shows(403, "stronger login");
    assert_eq!(test.count_sessions().await, 1);
}

/// The provider's page is of another site than this server, for which browsers keep cookies back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn person_with_a_browser_comes_from_the_page_of_the_provider() {
    let database = TestDatabase::sqlite().unwrap();
    let Some(test) = TestService::start_at(database, "localhost").await else {
        return;
    };
    let Some(browser) = TestChromium::start() else {
        return;
    };
    test.let_provider_begin(true).await;
    let tile = test.tile_url("kim", &test.entity_id(), &test.url("/saml/acs"));
    for is_wanted in [false, true] {
        assert_eq!(browser.go_to(&tile), 200);
        browser.press_button("Go on");
        browser.await_heading("Do you want to log in?");
        if is_wanted {
            browser.press_button("Continue as kim@corp.example");
            browser.await_heading("Your devices");
        } else {
            browser.inspect_page("unsolicited");
            browser.press_button("It is not me");
            browser.await_heading("You are not logged in");
            browser.inspect_page("unsolicited-denied");
            browser.go_to(&test.url("/admin"));
            browser.await_heading("Log in to Bowline");
        }
    }
    // Another tile in a browser that is signed in as somebody else asks as well.
    let other = test.tile_url("eve", &test.entity_id(), &test.url("/saml/acs"));
    browser.go_to(&other);
    browser.press_button("Go on");
    browser.await_heading("Do you want to log in?");
    browser.go_to(&test.url("/admin"));
    assert!(browser.read_text().contains("kim@corp.example"));
}
