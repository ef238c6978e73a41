//! A server with a provider that its people log in by.

use std::sync::OnceLock;

use bowline_proto::identity::v1::{
    Admission, Connection, CreateConnectionRequest, Device, GetLoginRequest, Login, OidcProvider,
    StartLoginRequest, connection::Provider, connection_service_client::ConnectionServiceClient,
    login_service_client::LoginServiceClient,
};
use bowline_service_kit::ServiceName;
use bowline_test_servers::{KeycloakServer, TestDatabase};
use bowline_test_support::TestServices;

use crate::{Page, TestBrowser, start_portal};

/// The realm at the provider: its users have the password "password".
pub const REALM: &str = include_str!("realm.json");

/// A server with a portal, and its provider.
#[expect(
    missing_debug_implementations,
    reason = "a test prints what it asks for"
)]
pub struct TestOrganisation {
    /// The services.
    pub services: TestServices,
    /// The provider.
    pub keycloak: &'static KeycloakServer,
    /// Where browsers reach the portal.
    pub origin: String,
}

impl TestOrganisation {
    /// Starts all of it; `None` when the provider is not installed and `CI` does not ask for it.
    pub async fn start(database: TestDatabase) -> Option<Self> {
        let keycloak = tokio::task::spawn_blocking(shared_keycloak)
            .await
            .unwrap()?;
        let services = TestServices::start(database).await;
        let origin = start_portal(&services, "127.0.0.1").await;
        Some(Self {
            services,
            keycloak,
            origin,
        })
    }

    /// Makes a connection to the provider, for people with verified addresses.
    pub async fn connect(&self, name: &str, domains: &[&str], admission: Admission) -> Connection {
        let secret = "secret-of-the-client";
        self.create_oidc(name, domains, admission, secret, |_| {})
            .await
    }

    /// Makes a connection with a client's secret.
    pub async fn connect_with_secret(&self, name: &str, secret: &str) -> Connection {
        self.create_oidc(name, &[], Admission::default(), secret, |_| {})
            .await
    }

    /// Makes a connection that differs.
    pub async fn connect_as(
        &self,
        name: &str,
        secret: &str,
        change: impl FnOnce(&mut OidcProvider),
    ) -> Connection {
        let domains = ["corp.example"];
        self.create_oidc(name, &domains, Admission::default(), secret, change)
            .await
    }

    async fn create_oidc(
        &self,
        name: &str,
        domains: &[&str],
        admission: Admission,
        client_secret: &str,
        change: impl FnOnce(&mut OidcProvider),
    ) -> Connection {
        let mut oidc = OidcProvider {
            issuer: self.keycloak.issuer(),
            client_id: "bowline".to_owned(),
            groups_claim: "groups".to_owned(),
            ..OidcProvider::default()
        };
        change(&mut oidc);
        let connection = Connection {
            tailnet_id: self.services.tailnet,
            name: name.to_owned(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            admission: Some(admission),
            provider: Some(Provider::Oidc(oidc)),
            ..Connection::default()
        };
        let request = CreateConnectionRequest {
            connection: Some(connection),
            client_secret: client_secret.to_owned(),
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.services.admin());
        client
            .create_connection(request)
            .await
            .unwrap()
            .into_inner()
            .connection
            .unwrap()
    }

    /// Makes a connection that admits some, with a name of its own.
    pub async fn connect_only(&self, admission: Admission) -> Connection {
        let name = format!("Only {admission:?}").replace('"', "");
        let name: String = name.chars().take(90).collect();
        self.connect(&name, &["corp.example"], admission).await
    }

    /// Begins the login of a device, as the key registry does for a client without a key.
    pub async fn start_login(&self, number: u8) -> Login {
        let request = StartLoginRequest {
            machine_key: vec![number; 32],
            node_key: vec![number + 100; 32],
            device: Some(Device {
                hostname: format!("laptop-{number}"),
                os: "linux".to_owned(),
                source_address: format!("192.0.2.{number}"),
                ..Device::default()
            }),
        };
        let mut client = LoginServiceClient::new(self.services.service(ServiceName::KeyRegistry));
        client
            .start_login(request)
            .await
            .unwrap()
            .into_inner()
            .login
            .unwrap()
    }

    /// Returns a login as it is now.
    pub async fn find_login(&self, id: &str) -> Login {
        let mut client = LoginServiceClient::new(self.services.admin());
        let request = GetLoginRequest {
            login_id: id.to_owned(),
        };
        client
            .get_login(request)
            .await
            .unwrap()
            .into_inner()
            .login
            .unwrap()
    }

    /// Returns an address of the portal.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Chooses a connection, and proves at the provider who the person is. Returns the address that the provider sends the
    /// browser back to.
    #[must_use]
    pub fn prove_person(
        &self,
        browser: &TestBrowser,
        login: &Login,
        connection: &Connection,
        person: &str,
    ) -> String {
        let url = self.url(&format!("/register/{}", login.id));
        let number = connection.id.to_string();
        let sent = browser.post(&url, &self.origin, &[("connection", &number)]);
        sent.assert_shows(200, "http-equiv=\"refresh\"");
        let form = browser.get(&sent.attribute("content=\"0; url="));
        // A browser that the provider knows already is sent back at once.
        if form.status == 302 {
            return form.location;
        }
        let fields = [("username", person), ("password", "password")];
        let back = browser.post(&form.attribute("action=\""), "null", &fields);
        assert_eq!(back.status, 302, "{}", back.body);
        back.location
    }

    /// Logs a browser in for a session. Returns the person's own page, or the one that refuses.
    #[must_use]
    pub fn sign_in(&self, browser: &TestBrowser, connection: &Connection, person: &str) -> Page {
        let started = browser.post(&self.url("/admin/sign-in"), &self.origin, &[]);
        assert_eq!(started.status, 303, "{}", started.body);
        let id = started.location.trim_start_matches("/register/").to_owned();
        let login = Login {
            id,
            ..Login::default()
        };
        let opened = self.log_in(browser, &login, connection, person);
        match opened.status {
            303 => browser.get(&self.url(&opened.location)),
            _ => opened,
        }
    }

    /// Goes all the way to the page with the two buttons, or to the one that refuses.
    #[must_use]
    pub fn log_in(
        &self,
        browser: &TestBrowser,
        login: &Login,
        connection: &Connection,
        person: &str,
    ) -> Page {
        let back = browser.get(&self.prove_person(browser, login, connection, person));
        match back.status {
            303 => browser.get(&self.url(&back.location)),
            _ => back,
        }
    }

    /// Presses a button of the page that shows the device.
    #[must_use]
    pub fn press(&self, browser: &TestBrowser, page: &Page, decision: &str) -> Page {
        let url = self.url(&page.attribute("action=\""));
        let token = page.attribute("name=\"token\" value=\"");
        let pressed = browser.post(
            &url,
            &self.origin,
            &[("token", &token), ("decision", decision)],
        );
        match pressed.status {
            303 => browser.get(&self.url(&pressed.location)),
            _ => pressed,
        }
    }
}

/// Returns the Keycloak of all tests of this process: it takes long to start. The kernel ends it with the process.
fn shared_keycloak() -> Option<&'static KeycloakServer> {
    static KEYCLOAK: OnceLock<Option<KeycloakServer>> = OnceLock::new();
    KEYCLOAK
        .get_or_init(|| KeycloakServer::start("corp", REALM).unwrap())
        .as_ref()
}
