//! The way by a SAML provider.

use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, Login, SamlProvider, connection::Provider,
    connection_service_client::ConnectionServiceClient,
};

use crate::{KeycloakAdmin, Page, TestBrowser, TestOrganisation};

/// What a browser brings back from a SAML provider, before it is posted.
#[derive(Clone, Debug)]
pub struct SamlForm {
    /// The answer.
    pub answer: String,
    /// What finds the attempt.
    pub relay_state: String,
}

impl SamlForm {
    /// Reads what a page of a provider lets the browser post.
    #[must_use]
    pub fn read(page: &Page) -> Self {
        Self {
            answer: field_of(page, "SAMLResponse"),
            relay_state: field_of(page, "RelayState"),
        }
    }
}

/// Returns a connection to the organisation's Keycloak by SAML.
#[must_use]
pub fn saml_provider(corp: &TestOrganisation) -> SamlProvider {
    SamlProvider {
        metadata_url: format!("{}/protocol/saml/descriptor", corp.keycloak.issuer()),
        groups_attribute: "groups".to_owned(),
        ..SamlProvider::default()
    }
}

impl TestOrganisation {
    /// Makes a connection by SAML, and tells the provider of it.
    pub async fn connect_saml(&self, connection: Connection) -> Connection {
        let made = self.create_saml(connection).await;
        let metadata = TestBrowser::open().get(&self.service_entity_id(&made));
        assert_eq!(metadata.status, 200, "{}", metadata.body);
        KeycloakAdmin::log_in(self.keycloak).add_saml_service(&metadata.body);
        made
    }

    /// Makes a connection by SAML that the provider knows nothing of.
    pub async fn create_saml(&self, connection: Connection) -> Connection {
        let connection = Connection {
            tailnet_id: self.services.tailnet,
            provider: connection
                .provider
                .or_else(|| Some(Provider::Saml(saml_provider(self)))),
            ..connection
        };
        let request = CreateConnectionRequest {
            connection: Some(connection),
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.services.admin());
        let made = client.create_connection(request).await.unwrap();
        made.into_inner().connection.unwrap()
    }

    /// Returns what this server is called at the provider of a connection.
    #[must_use]
    pub fn service_entity_id(&self, connection: &Connection) -> String {
        self.url(&format!("/saml/{}/metadata", connection.id))
    }

    /// Chooses a connection, and proves at the provider who the person is. Returns what the provider lets the browser post.
    #[must_use]
    pub fn prove_person_by_saml(
        &self,
        browser: &TestBrowser,
        login: &Login,
        connection: &Connection,
        person: &str,
    ) -> SamlForm {
        let url = self.url(&format!("/register/{}", login.id));
        let number = connection.id.to_string();
        let sent = browser.post(&url, &self.origin, &[("connection", &number)]);
        sent.assert_shows(200, "http-equiv=\"refresh\"");
        let mut page = browser.get(&sent.attribute("content=\"0; url="));
        // A browser that the provider knows already is sent back at once.
        if !page.body.contains("SAMLResponse") {
            let fields = [("username", person), ("password", "password")];
            page = browser.post(&page.attribute("action=\""), "null", &fields);
        }
        assert_eq!(page.status, 200, "{}", page.body);
        SamlForm::read(&page)
    }

    /// Posts an answer as the provider's page does: from another site and without cookies.
    #[must_use]
    pub fn post_answer(&self, form: &SamlForm) -> Page {
        let fields = [
            ("SAMLResponse", &*form.answer),
            ("RelayState", &*form.relay_state),
        ];
        let origin = self.keycloak.origin();
        TestBrowser::open().post(&self.url("/saml/acs"), &origin, &fields)
    }

    /// Goes all the way to the page with the two buttons, or to the one that refuses.
    #[must_use]
    pub fn log_in_by_saml(
        &self,
        browser: &TestBrowser,
        login: &Login,
        connection: &Connection,
        person: &str,
    ) -> Page {
        let form = self.prove_person_by_saml(browser, login, connection, person);
        let posted = self.post_answer(&form);
        match posted.status {
            303 => self.follow(browser, &posted.location),
            _ => posted,
        }
    }

    /// Follows redirects on this server.
    #[must_use]
    pub fn follow(&self, browser: &TestBrowser, place: &str) -> Page {
        let mut page = browser.get(&self.url(place));
        while page.status == 303 {
            page = browser.get(&self.url(&page.location));
        }
        page
    }
}

/// Returns the value of a hidden field.
fn field_of(page: &Page, name: &str) -> String {
    let lower = format!("name=\"{name}\" value=\"");
    match page.body.contains(&lower) {
        true => page.attribute(&lower),
        false => page.attribute(&format!("NAME=\"{name}\" VALUE=\"")),
    }
}
