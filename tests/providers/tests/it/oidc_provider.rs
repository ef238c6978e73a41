//! OpenID Connect with another provider than Keycloak, without it: classes of authentication with names of their own, the
//! issuer in each answer, and keys that change.

use std::time::Duration;

use bowline_proto::{
    addresses::{OIDC_CALLBACK, back_channel_logout_path},
    identity::v1::{
        AddConditionRequest, Condition, ConditionScope, Connection, CreateConnectionRequest,
        OidcProvider, Role, condition_service_client::ConditionServiceClient, connection::Provider,
        connection_service_client::ConnectionServiceClient,
    },
};
use bowline_providers::{Page, TestBrowser, start_portal};
use bowline_test_servers::{OidcProviderServer, TestDatabase};
use bowline_test_support::TestServices;
use serde_json::json;
use tokio::time::{Instant, sleep};

const SECRET: &str = "secret-of-the-client-0123456789";
/// Proven by a password, and by a second factor.
const WEAK: &str = "urn:example:loa:1";
const STRONG: &str = "urn:example:loa:2";
/// How long what happens at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Services and a portal, with a provider.
struct TestService {
    services: TestServices,
    provider: OidcProviderServer,
    origin: String,
    connection: Connection,
}

impl TestService {
    async fn start() -> Option<Self> {
        let provider = OidcProviderServer::start().unwrap()?;
        let services = TestServices::start(TestDatabase::sqlite().unwrap()).await;
        let origin = start_portal(&services, "127.0.0.1").await;
        let oidc = OidcProvider {
            issuer: provider.issuer(),
            client_id: "bowline".to_owned(),
            groups_claim: "groups".to_owned(),
            ..OidcProvider::default()
        };
        let request = CreateConnectionRequest {
            connection: Some(Connection {
                tailnet_id: services.tailnet,
                name: "Corp".to_owned(),
                domains: vec!["corp.example".to_owned()],
                provider: Some(Provider::Oidc(oidc)),
                ..Connection::default()
            }),
            client_secret: SECRET.to_owned(),
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(services.admin());
        let made = client.create_connection(request).await.unwrap();
        let test = Self {
            connection: made.into_inner().connection.unwrap(),
            services,
            provider,
            origin,
        };
        test.register_client();
        Some(test)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn provider_url(&self, place: &str) -> String {
        match place.starts_with('/') {
            true => format!("{}{place}", self.provider.issuer()),
            false => place.to_owned(),
        }
    }

    fn register_client(&self) {
        let callback = self.url(OIDC_CALLBACK);
        let client = json!({
            "client_id": "bowline",
            "client_secret": SECRET,
            "redirect_uris": [callback],
            "post_logout_redirect_uris": [callback],
            "backchannel_logout_uri": self.url(&back_channel_logout_path(self.connection.id)),
            "backchannel_logout_session_required": true,
            "id_token_signed_response_alg": "ES256",
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
        });
        self.tell_provider("/clients", &client.to_string());
    }

    fn tell_provider(&self, path: &str, body: &str) {
        let told = TestBrowser::open().post_text(&self.provider_url(path), body);
        assert_eq!(told.status, 200, "{}", told.body);
    }

    /// Proves at the provider who the person is, as strongly as is said, and comes back with it.
    fn prove(&self, browser: &TestBrowser, sent: &Page, level: &str) -> Page {
        sent.assert_shows(200, "http-equiv=\"refresh\"");
        let asked = browser.get(&sent.attribute("content=\"0; url="));
        let form = browser.get(&self.provider_url(&asked.location));
        let place = self.provider_url(&form.attribute("action=\""));
        let fields = [("user", "kim"), ("level", level)];
        let mut page = browser.post(&place, &self.provider.issuer(), &fields);
        while !page.location.starts_with(&self.origin) {
            assert!(matches!(page.status, 302 | 303), "{}", page.body);
            page = browser.get(&self.provider_url(&page.location));
        }
        assert!(page.location.contains("&iss="), "{}", page.location);
        self.follow(browser, browser.get(&page.location))
    }

    fn follow(&self, browser: &TestBrowser, mut page: Page) -> Page {
        while page.status == 303 {
            page = browser.get(&self.url(&page.location));
        }
        page
    }

    /// Logs a browser in for a session. Returns the page that the person comes to.
    fn sign_in(&self, browser: &TestBrowser, level: &str) -> Page {
        let started = browser.post(&self.url("/admin/sign-in"), &self.origin, &[]);
        assert_eq!(started.status, 303, "{}", started.body);
        let number = self.connection.id.to_string();
        let url = self.url(&started.location);
        let sent = browser.post(&url, &self.origin, &[("connection", &number)]);
        self.prove(browser, &sent, level)
    }

    async fn require_class(&self, class: &str) {
        let condition = Condition {
            tailnet_id: self.services.tailnet,
            scope: ConditionScope::Role.into(),
            role: Role::Member.into(),
            acr: vec![class.to_owned()],
            ..Condition::default()
        };
        let request = AddConditionRequest {
            condition: Some(condition),
        };
        let mut client = ConditionServiceClient::new(self.services.admin());
        client.add_condition(request).await.unwrap();
    }

    /// Says at the provider that the person logs out there, everywhere.
    fn log_out_at_provider(&self, browser: &TestBrowser) {
        let url = self.provider_url("/session/end?client_id=bowline");
        let form = browser.get(&url);
        form.assert_shows(200, "name=\"xsrf\"");
        let xsrf = form.attribute("name=\"xsrf\" value=\"");
        let place = self.provider_url(&form.attribute("action=\""));
        let fields = [("xsrf", &*xsrf), ("logout", "yes")];
        let ended = browser.post(&place, &self.provider.issuer(), &fields);
        assert!(ended.status < 400, "{}", ended.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn person_steps_up_stays_through_a_new_key_and_logs_out_at_another_provider() {
    let Some(test) = TestService::start().await else {
        return;
    };
    let browser = TestBrowser::open();
    test.sign_in(&browser, WEAK)
        .assert_shows(200, "Your devices");

    // The class is asked for once it is known whose login it is.
    test.require_class(STRONG).await;
    let browser = TestBrowser::open();
    let page = test.sign_in(&browser, WEAK);
    page.assert_shows(200, "/step-up");
    let token = page.attribute("name=\"token\" value=\"");
    let url = test.url(&page.attribute("action=\""));
    let sent = browser.post(&url, &test.origin, &[("token", &token)]);
    // The provider requires that requests are pushed: the browser carries a reference alone.
    let is_pushed = sent.body.contains("request_uri=urn") && !sent.body.contains("acr_values");
    assert!(is_pushed, "{}", sent.body);
    test.prove(&browser, &sent, STRONG)
        .assert_shows(200, "Your devices");

    // It signs with another key, and takes the former back.
    test.tell_provider("/next-key", "");
    let deadline = Instant::now() + PATIENCE;
    let browser = loop {
        let browser = TestBrowser::open();
        let page = test.sign_in(&browser, STRONG);
        if page.status == 200 {
            page.assert_shows(200, "Your devices");
            break browser;
        }
        // Its keys are fetched once in five seconds, however many tokens name one that is not known.
        page.assert_shows(403, "the ID token is refused");
        assert!(Instant::now() < deadline, "the new key is not found");
        sleep(Duration::from_millis(500)).await;
    };

    test.log_out_at_provider(&browser);
    let is_out = || {
        let page = browser.get(&test.url("/admin"));
        page.body.contains("Log in to Bowline")
    };
    let deadline = Instant::now() + PATIENCE;
    while !is_out() {
        assert!(Instant::now() < deadline, "the session goes on");
        sleep(Duration::from_millis(50)).await;
    }
}
