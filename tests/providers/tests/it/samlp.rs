//! SAML with another provider than Keycloak, without it.

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, Device, Login, SamlProvider, StartLoginRequest,
    UpdateConnectionRequest, connection::Provider,
    connection_service_client::ConnectionServiceClient, login_service_client::LoginServiceClient,
};
use bowline_providers::{Page, SamlForm, TestBrowser, start_portal};
use bowline_service_kit::ServiceName;
use bowline_test_servers::{SamlpServer, TestDatabase};
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
    async fn start() -> Option<Self> {
        let provider = SamlpServer::start().unwrap()?;
        let services = TestServices::start(TestDatabase::sqlite().unwrap()).await;
        let origin = start_portal(&services, "127.0.0.1").await;
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
        let fields = [
            ("SAMLResponse", &*form.answer),
            ("RelayState", &*form.relay_state),
        ];
        let acs = self.url("/saml/acs");
        let mut page = TestBrowser::open().post(&acs, &self.provider.origin(), &fields);
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

    fn roll_key(&self) {
        let url = format!("{}/next-key", self.provider.origin());
        let rolled = TestBrowser::open().post(&url, "null", &[]);
        assert_eq!(rolled.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn person_logs_in_by_another_provider_before_and_after_its_key_is_rolled() {
    let Some(test) = TestService::start().await else {
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
