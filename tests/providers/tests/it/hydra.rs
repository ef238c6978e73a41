//! OpenID Connect with Ory Hydra, a third provider: refresh tokens that are taken once, a rule of its administrator for each
//! refresh, and a next key of another kind. It has to be built first, which `tests/run --all` does.

use std::time::Duration;

use bowline_proto::{
    addresses::{OIDC_CALLBACK, back_channel_logout_path},
    identity::v1::{
        AddConditionRequest, Admission, Condition, ConditionScope, Connection,
        CreateConnectionRequest, Device, GetLoginRequest, ListUsersRequest, Login, LoginEndEffect,
        LoginState, OidcProvider, RefreshConnectionRequest, Role, StartLoginRequest, User,
        condition_service_client::ConditionServiceClient, connection::Provider,
        connection_service_client::ConnectionServiceClient,
        login_service_client::LoginServiceClient, user_service_client::UserServiceClient,
    },
};
use bowline_providers::{
    HydraAdmin, HydraPerson, HydraRefreshHook, Page, TestBrowser, start_portal,
};
use bowline_service_kit::ServiceName;
use bowline_test_servers::{HydraServer, TestDatabase, choose_size};
use bowline_test_support::TestServices;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// With characters that a form escapes.
const SECRET: &str = "secret+of/the=client %41 0123456789";
/// How long what happens in the background may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const KIM: HydraPerson = HydraPerson {
    name: "kim",
    has_verified_mail: true,
    class: "password",
};
/// The same person by a second factor.
const KIM_BY_CARD: HydraPerson = HydraPerson {
    class: "card",
    ..KIM
};
const LOU: HydraPerson = HydraPerson {
    name: "lou",
    has_verified_mail: false,
    ..KIM
};

/// Services and a portal, with a provider.
struct TestService {
    services: TestServices,
    provider: HydraServer,
    admin: HydraAdmin,
    origin: String,
    connection: Connection,
    hook: HydraRefreshHook,
}

impl TestService {
    async fn start() -> Option<Self> {
        let hook = HydraRefreshHook::default();
        let provider = HydraServer::start(&hook.start().await).unwrap()?;
        let services = TestServices::start(TestDatabase::sqlite().unwrap()).await;
        let origin = start_portal(&services, "127.0.0.1").await;
        let scopes = ["profile", "email", "offline_access"];
        let oidc = OidcProvider {
            issuer: provider.issuer(),
            client_id: "bowline".to_owned(),
            scopes: scopes.map(str::to_owned).to_vec(),
            groups_claim: "groups".to_owned(),
            refresh_interval: Some(prost_types::Duration {
                seconds: 3600,
                nanos: 0,
            }),
            on_refusal: LoginEndEffect::Suspend.into(),
            ..OidcProvider::default()
        };
        let request = CreateConnectionRequest {
            connection: Some(Connection {
                tailnet_id: services.tailnet,
                name: "Corp".to_owned(),
                domains: vec!["corp.example".to_owned()],
                admission: Some(Admission {
                    domains: vec!["corp.example".to_owned()],
                    ..Admission::default()
                }),
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
            admin: HydraAdmin::of(&provider),
            services,
            provider,
            origin,
            hook,
        };
        test.register_client();
        Some(test)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn register_client(&self) {
        let callback = self.url(OIDC_CALLBACK);
        self.admin.register_client(&json!({
            "client_id": "bowline",
            "client_secret": SECRET,
            "scope": "openid profile email offline_access",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "redirect_uris": [callback],
            "post_logout_redirect_uris": [callback],
            "backchannel_logout_uri": self.url(&back_channel_logout_path(self.connection.id)),
            "backchannel_logout_session_required": true,
        }));
    }

    async fn start_login(&self) -> Login {
        let request = StartLoginRequest {
            machine_key: vec![1; 32],
            node_key: vec![2; 32],
            device: Some(Device {
                hostname: "laptop".to_owned(),
                ..Device::default()
            }),
        };
        let registry = self.services.service(ServiceName::KeyRegistry);
        let started = LoginServiceClient::new(registry).start_login(request).await;
        started.unwrap().into_inner().login.unwrap()
    }

    async fn find_login(&self, id: &str) -> Login {
        let login_id = id.to_owned();
        let mut client = LoginServiceClient::new(self.services.admin());
        let found = client.get_login(GetLoginRequest { login_id }).await;
        found.unwrap().into_inner().login.unwrap()
    }

    async fn find_user(&self, name: &str) -> Option<User> {
        let request = ListUsersRequest {
            tailnet_id: self.services.tailnet,
            ..ListUsersRequest::default()
        };
        let mut client = UserServiceClient::new(self.services.admin());
        let users = client.list_users(request).await.unwrap().into_inner().users;
        let login_name = format!("{name}@corp.example");
        users.into_iter().find(|user| user.login_name == login_name)
    }

    /// Chooses the connection on the page of a login.
    fn choose(&self, browser: &TestBrowser, login_id: &str) -> Page {
        let number = self.connection.id.to_string();
        let url = self.url(&format!("/register/{login_id}"));
        browser.post(&url, &self.origin, &[("connection", &number)])
    }

    /// Goes to the provider, is let in there as a person, and comes back with it.
    fn prove(&self, browser: &TestBrowser, sent: &Page, person: &HydraPerson) -> Page {
        let back = self.go_through_provider(browser, sent, person);
        let mut page = browser.get(&back);
        while page.status == 303 {
            page = browser.get(&self.url(&page.location));
        }
        page
    }

    /// Returns where the provider sends the browser back to.
    fn go_through_provider(
        &self,
        browser: &TestBrowser,
        sent: &Page,
        person: &HydraPerson,
    ) -> String {
        sent.assert_shows(200, "http-equiv=\"refresh\"");
        let mut page = browser.get(&sent.attribute("content=\"0; url="));
        while !page.location.starts_with(&self.origin) {
            assert!(matches!(page.status, 302 | 303), "{}", page.body);
            let answered = self.admin.answer_page(&page.location, person);
            page = browser.get(&answered.unwrap_or(page.location));
        }
        page.location
    }

    /// Logs a browser in for a session. Returns the page that the person comes to.
    fn sign_in(&self, browser: &TestBrowser, person: &HydraPerson) -> Page {
        let started = browser.post(&self.url("/admin/sign-in"), &self.origin, &[]);
        assert_eq!(started.status, 303, "{}", started.body);
        let login_id = started.location.trim_start_matches("/register/");
        self.prove(browser, &self.choose(browser, login_id), person)
    }

    fn press_step_up(&self, browser: &TestBrowser, page: &Page) -> Page {
        page.assert_shows(200, "/step-up");
        let token = page.attribute("name=\"token\" value=\"");
        let url = self.url(&page.attribute("action=\""));
        browser.post(&url, &self.origin, &[("token", &token)])
    }

    fn is_in(&self, browser: &TestBrowser) -> bool {
        let page = browser.get(&self.url("/admin"));
        !page.body.contains("Log in to Bowline")
    }

    /// Lets the provider be asked about Kim until what it says has come here.
    async fn ask_until(&self, what: &str, is_so: impl Fn(&User) -> bool) {
        let mut client = ConnectionServiceClient::new(self.services.admin());
        await_state(what, async || {
            let request = RefreshConnectionRequest {
                tailnet_id: self.services.tailnet,
                connection_id: self.connection.id,
            };
            client.refresh_connection(request).await.unwrap();
            is_so(&self.find_user("kim").await.unwrap())
        })
        .await;
    }
}

/// Waits until something is so.
async fn await_state(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it does not come: {what}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// One test, for one Hydra.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_of_hydra_log_in_step_up_stay_and_leave() {
    if choose_size(0, 1) == 0 {
        return;
    }
    let Some(test) = TestService::start().await else {
        return;
    };
    device_is_let_in_and_its_person_is_in_the_groups(&test).await;
    address_that_is_not_verified_admits_nobody(&test).await;
    stronger_login_is_asked_for_and_required(&test).await;
    groups_follow_each_refresh_until_the_person_may_no_more(&test).await;
    new_key_is_found(&test).await;
    logout_here_is_one_at_the_provider(&test);
    logout_at_the_provider_is_one_here(&test).await;
}

async fn device_is_let_in_and_its_person_is_in_the_groups(test: &TestService) {
    let (login, browser) = (test.start_login().await, TestBrowser::open());
    let page = test.prove(&browser, &test.choose(&browser, &login.id), &KIM);
    page.assert_shows(200, "Is this your device?");
    page.assert_shows(200, "kim@corp.example");
    let state = test.find_login(&login.id).await.state();
    assert_eq!(state, LoginState::Pending, "seeing it approves nothing");

    let url = test.url(&page.attribute("action=\""));
    let token = page.attribute("name=\"token\" value=\"");
    let fields = [("token", &*token), ("decision", "approve")];
    let pressed = browser.post(&url, &test.origin, &fields);
    let shown = browser.get(&test.url(&pressed.location));
    shown.assert_shows(200, "The device is in");
    let (decided, kim) = (
        test.find_login(&login.id).await,
        test.find_user("kim").await.unwrap(),
    );
    assert_eq!(
        (decided.state(), decided.user_id),
        (LoginState::Approved, kim.id)
    );
    assert_eq!(kim.groups, ["dev"]);
}

async fn address_that_is_not_verified_admits_nobody(test: &TestService) {
    let page = test.sign_in(&TestBrowser::open(), &LOU);
    page.assert_shows(403, "no verified mail address");
    assert!(test.find_user("lou").await.is_none());
}

async fn stronger_login_is_asked_for_and_required(test: &TestService) {
    let condition = Condition {
        tailnet_id: test.services.tailnet,
        scope: ConditionScope::Role.into(),
        role: Role::Member.into(),
        acr: vec!["card".to_owned()],
        ..Condition::default()
    };
    let request = AddConditionRequest {
        condition: Some(condition),
    };
    let mut client = ConditionServiceClient::new(test.services.admin());
    client.add_condition(request).await.unwrap();

    // The provider is asked for the class, and answers with another one.
    let browser = TestBrowser::open();
    let page = test.sign_in(&browser, &KIM);
    let sent = test.press_step_up(&browser, &page);
    let asked = browser.get(&sent.attribute("content=\"0; url="));
    assert_eq!(test.admin.asked_classes(&asked.location), ["card"]);
    test.prove(&browser, &sent, &KIM)
        .assert_shows(403, "stronger login");
    assert!(!test.is_in(&browser));

    let page = test.sign_in(&browser, &KIM);
    let sent = test.press_step_up(&browser, &page);
    test.prove(&browser, &sent, &KIM_BY_CARD)
        .assert_shows(200, "Your devices");
}

async fn groups_follow_each_refresh_until_the_person_may_no_more(test: &TestService) {
    let browser = TestBrowser::open();
    test.sign_in(&browser, &KIM_BY_CARD)
        .assert_shows(200, "Your devices");
    // Each answer has the next token: the provider takes everything back when one comes twice.
    for groups in [["ops"], ["dev"], ["ops"]] {
        test.hook.set_groups(Some(&groups));
        test.ask_until("groups", |user| user.groups == groups).await;
    }
    assert!(test.is_in(&browser));

    // Refused by what the provider asks, and because what the person let this client have was taken back.
    test.hook.set_groups(None);
    test.ask_until("suspended", |user| user.suspended).await;
    assert!(!test.is_in(&browser));
    test.hook.set_groups(Some(&["dev"]));
    test.sign_in(&browser, &KIM_BY_CARD)
        .assert_shows(200, "Your devices");
    assert!(!test.find_user("kim").await.unwrap().suspended);
    test.admin.revoke_consents("kim");
    test.ask_until("suspended", |user| user.suspended).await;
    assert!(!test.is_in(&browser));
}

async fn new_key_is_found(test: &TestService) {
    test.admin.roll_key();
    await_state("the new key", async || {
        let page = test.sign_in(&TestBrowser::open(), &KIM_BY_CARD);
        // Its keys are fetched once in five seconds, however many tokens name one that is not known.
        if page.status != 200 {
            page.assert_shows(403, "the ID token is refused");
            return false;
        }
        page.body.contains("Your devices")
    })
    .await;
}

fn logout_here_is_one_at_the_provider(test: &TestService) {
    let browser = TestBrowser::open();
    let page = test.sign_in(&browser, &KIM_BY_CARD);
    page.assert_shows(200, "Your devices");
    let token = page.attribute("name=\"token\" value=\"");
    let url = test.url("/admin/sign-out");
    let sent = browser.post(&url, &test.origin, &[("token", &token)]);
    let back = test.go_through_provider(&browser, &sent, &KIM);
    assert!(back.starts_with(&test.url(OIDC_CALLBACK)), "{back}");
    browser.get(&back).assert_shows(200, "You are logged out");
    assert!(!test.is_in(&browser));
    // The provider knows no session that it could end.
    let ended = browser.get(&log_out_address(test));
    assert!(!ended.location.contains("logout_challenge"), "{ended:?}");
}

async fn logout_at_the_provider_is_one_here(test: &TestService) {
    let (browser, other) = (TestBrowser::open(), TestBrowser::open());
    for browser in [&browser, &other] {
        test.sign_in(browser, &KIM_BY_CARD)
            .assert_shows(200, "Your devices");
    }
    let asked = browser.get(&log_out_address(test));
    let next = test.admin.answer_page(&asked.location, &KIM);
    let ended = browser.get(&next.unwrap());
    assert!(ended.status < 400, "{}", ended.body);
    await_state("the logout", async || !test.is_in(&browser)).await;
    assert!(test.is_in(&other), "that is another session there");
}

fn log_out_address(test: &TestService) -> String {
    format!("{}/oauth2/sessions/logout", test.provider.issuer())
}
