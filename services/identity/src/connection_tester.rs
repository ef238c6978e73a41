//! Walks a connection as a login does, without a person, and says what is wrong.

use bowline_http_client::HttpClient;
use bowline_ids::TailnetId;
use bowline_oidc::{ClientRegistration, Providers, try_client};
use bowline_proto::{
    addresses::OIDC_CALLBACK,
    identity::v1::{
        Connection, ConnectionCheck, ConnectionCheckOutcome as Outcome, OidcProvider, SamlProvider,
        connection::Provider,
    },
};
use bowline_service_kit::error_text;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Request, Response, header};
use serde_json::Value;
use url::Url;

use crate::{
    connections::Connections,
    domain::{
        connection_check::{
            check, check_client, check_clock, check_discovery, check_keys, check_metadata,
            check_own_key, check_redirect,
        },
        saml::read_metadata,
    },
    error::IdentityError,
    passkey_ceremony::PasskeyServer,
};

/// What a client is registered with where the settings do not say how browsers reach this server.
const SOME_ORIGIN: &str = "https://bowline.invalid";

/// Tests connections. Clones share it.
#[derive(Clone)]
pub struct ConnectionTester {
    connections: Connections,
    providers: Providers,
    http: HttpClient,
    public_url: String,
}

impl ConnectionTester {
    pub(crate) fn new(
        connections: Connections,
        providers: Providers,
        http: HttpClient,
        public_url: &str,
    ) -> Self {
        Self {
            connections,
            providers,
            http,
            public_url: public_url.trim_end_matches('/').to_owned(),
        }
    }

    /// Walks a connection of a tailnet.
    pub(crate) async fn test_connection(
        &self,
        tailnet: TailnetId,
        id: u64,
    ) -> Result<Vec<ConnectionCheck>, IdentityError> {
        let connection = self.connections.find_connection(tailnet, id).await?;
        let now = self.connections.read_time().await?;
        match &connection.provider {
            Some(Provider::Oidc(oidc)) => self.test_oidc(&connection, oidc, now).await,
            Some(Provider::Saml(saml)) => self.test_saml(&connection, saml, now).await,
            Some(Provider::Local(_)) => Ok(vec![self.check_passkeys()]),
            None => Err(IdentityError::NotFound("provider of the connection")),
        }
    }

    /// Says whether browsers make passkeys at the address that they reach this server by.
    fn check_passkeys(&self) -> ConnectionCheck {
        let name = "address";
        match self.public_url.as_str() {
            "" => check(
                name,
                Outcome::Skipped,
                "public_url is not set in identity's settings: set it there to have it looked at",
            ),
            url => match PasskeyServer::new(url) {
                Ok(_) => check(
                    name,
                    Outcome::Ok,
                    format!("browsers make passkeys for {url}"),
                ),
                Err(error) => check(name, Outcome::Failed, error.to_string()),
            },
        }
    }

    async fn test_oidc(
        &self,
        connection: &Connection,
        oidc: &OidcProvider,
        now: DateTime<Utc>,
    ) -> Result<Vec<ConnectionCheck>, IdentityError> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            oidc.issuer.trim_end_matches('/')
        );
        let answer = match self.get(&url).await {
            Ok(answer) => answer,
            Err(problem) => return Ok(vec![unreachable(&url, &problem)]),
        };
        let mut checks = vec![check("provider", Outcome::Ok, format!("{url} answers"))];
        checks.push(check_clock(date_of(&answer), now));
        let Ok(document) = serde_json::from_slice::<Value>(answer.body()) else {
            let text = format!(
                "{url} is no JSON: is {} an OpenID Connect issuer?",
                oidc.issuer
            );
            checks.push(check("discovery", Outcome::Failed, text));
            return Ok(checks);
        };
        checks.extend(check_discovery(&oidc.issuer, &document));
        if let Some(url) = document.get("jwks_uri").and_then(Value::as_str) {
            checks.push(match self.get(url).await {
                Ok(answer) => {
                    check_keys(&serde_json::from_slice(answer.body()).unwrap_or_default())
                }
                Err(problem) => check("keys", Outcome::Failed, format!("{url}: {problem}")),
            });
        }
        if has_failed(&checks) {
            return Ok(checks);
        }
        let row = self.connections.find_stored(connection.id).await?;
        let registration = ClientRegistration {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: self.connections.open_secret(&row)?,
            callback: Some(self.callback()?),
        };
        checks.push(match try_client(&self.providers, &registration).await {
            Ok(verdict) => check_client(verdict, oidc.has_client_secret),
            Err(error) => check("client", Outcome::Failed, error_text(&error)),
        });
        checks.push(self.test_redirect(oidc, &document).await?);
        Ok(checks)
    }

    /// Opens the provider's login page as a browser that is sent there.
    async fn test_redirect(
        &self,
        oidc: &OidcProvider,
        document: &Value,
    ) -> Result<ConnectionCheck, IdentityError> {
        let name = "redirect address";
        if self.public_url.is_empty() {
            let text = "public_url is not set in identity's settings: set it there to have the redirect address tried";
            return Ok(check(name, Outcome::Skipped, text));
        }
        let callback = self.callback()?;
        let page = document
            .get("authorization_endpoint")
            .and_then(Value::as_str);
        let Ok(mut page) = Url::parse(page.unwrap_or_default()) else {
            return Ok(check(
                name,
                Outcome::Failed,
                "the provider's login page has no URL",
            ));
        };
        page.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &oidc.client_id)
            .append_pair("redirect_uri", callback.as_str())
            .append_pair("scope", "openid")
            .append_pair("state", "bowline-connection-test")
            .append_pair("nonce", "bowline-connection-test")
            .append_pair("code_challenge_method", "S256")
            .append_pair(
                "code_challenge",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            );
        Ok(match self.ask(page.as_str()).await {
            Ok(answer) => {
                let place = answer.headers().get(header::LOCATION);
                let place = place
                    .and_then(|place| place.to_str().ok())
                    .unwrap_or_default();
                check_redirect(answer.status().as_u16(), place, callback.as_str())
            }
            // A redirect to another origin is a person's way, and not this server's.
            Err(problem) => check(
                name,
                Outcome::Skipped,
                format!("it can not be tried: {problem}"),
            ),
        })
    }

    async fn test_saml(
        &self,
        connection: &Connection,
        saml: &SamlProvider,
        now: DateTime<Utc>,
    ) -> Result<Vec<ConnectionCheck>, IdentityError> {
        let mut checks = Vec::new();
        let kept = self
            .connections
            .saml_providers()
            .find_document(connection.id)
            .await?;
        let mut document = kept.document;
        if saml.metadata_url.is_empty() {
            let text = "it was given as a file: a new key of the provider needs bowline connections set-metadata";
            checks.push(check("metadata", Outcome::Ok, text));
        } else {
            match self.get(&saml.metadata_url).await {
                Ok(answer) => {
                    checks.push(check(
                        "provider",
                        Outcome::Ok,
                        format!("{} answers", saml.metadata_url),
                    ));
                    checks.push(check_clock(date_of(&answer), now));
                    document = answer.into_body().to_vec();
                }
                Err(problem) => checks.push(unreachable(&saml.metadata_url, &problem)),
            }
        }
        match read_metadata(saml, &document) {
            Ok(metadata) => {
                checks.push(check(
                    "issuer",
                    Outcome::Ok,
                    format!("it is {}", metadata.entity_id),
                ));
                checks.extend(check_metadata(&metadata, now));
            }
            Err(error) => checks.push(check("metadata", Outcome::Failed, error.to_string())),
        }
        let sealing = self.connections.sealing_keys()?;
        let key = self.connections.saml_keys().open_key(sealing, connection);
        checks.push(match key.await {
            Ok(key) => check_own_key(key.certificate(), now),
            Err(error) => check("own key", Outcome::Failed, error_text(&error)),
        });
        Ok(checks)
    }

    fn callback(&self) -> Result<Url, IdentityError> {
        let origin = match self.public_url.as_str() {
            "" => SOME_ORIGIN,
            url => url,
        };
        Url::parse(&format!("{origin}{OIDC_CALLBACK}"))
            .map_err(|_| IdentityError::Refused("public_url of identity's settings is no URL"))
    }

    /// Gets what is there.
    async fn get(&self, url: &str) -> Result<Response<Bytes>, String> {
        let answer = self.ask(url).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(format!("the answer is {}", answer.status())),
        }
    }

    async fn ask(&self, url: &str) -> Result<Response<Bytes>, String> {
        let request = Request::get(url).body(Bytes::new());
        let request = request.map_err(|error| error.to_string())?;
        self.http
            .send(request)
            .await
            .map_err(|error| error_text(&error))
    }
}

fn has_failed(checks: &[ConnectionCheck]) -> bool {
    checks
        .iter()
        .any(|check| check.outcome() == Outcome::Failed)
}

fn unreachable(url: &str, problem: &str) -> ConnectionCheck {
    let text = format!("{url}: {problem}");
    check("provider", Outcome::Failed, text)
}

fn date_of(answer: &Response<Bytes>) -> Option<&str> {
    answer.headers().get(header::DATE)?.to_str().ok()
}
