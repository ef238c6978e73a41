//! What providers publish of themselves, fetched once for a while.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_http_client::HttpClient;
use bowline_service_kit::error_text;
use openidconnect::{ClientId, ClientSecret, IssuerUrl, RedirectUrl, core::CoreClientAuthMethod};
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    OidcError,
    http::ProviderHttp,
    types::{Metadata, ProviderClient},
};

/// How long what a provider publishes is used: a key that it has taken back is trusted this long.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How soon it is fetched again because a token names a key that is not known: anybody can write such a token.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);
/// The most providers that are remembered.
const MOST_KEPT: usize = 1000;

/// How this server is registered at a provider.
#[derive(Clone, Debug)]
pub struct ClientRegistration {
    /// The provider's issuer, exactly as it writes it.
    pub issuer: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret; `None` for a public client, which PKCE alone protects.
    pub client_secret: Option<Zeroizing<String>>,
    /// Where the provider sends browsers back to; `None` where none is sent.
    pub callback: Option<Url>,
}

/// All providers that are asked. Clones share what is known.
#[derive(Clone)]
pub struct Providers {
    http: ProviderHttp,
    known: Arc<Mutex<BTreeMap<String, KnownProvider>>>,
}

#[derive(Clone)]
struct KnownProvider {
    metadata: Arc<Metadata>,
    fetched: Instant,
}

/// A provider, and this server as a client of it.
pub(crate) struct Provider {
    pub(crate) metadata: Arc<Metadata>,
    pub(crate) client: ProviderClient,
}

impl Providers {
    /// Asks providers through this client.
    #[must_use]
    pub fn new(http: HttpClient) -> Self {
        let known = Arc::default();
        Self {
            http: ProviderHttp(http),
            known,
        }
    }

    pub(crate) fn http(&self) -> &ProviderHttp {
        &self.http
    }

    /// Returns a provider as it was published lately.
    ///
    /// # Errors
    ///
    /// When it can not be asked, or publishes what can not be used.
    pub(crate) async fn find_provider(
        &self,
        registration: &ClientRegistration,
    ) -> Result<Provider, OidcError> {
        self.find_since(registration, KEPT_FOR).await
    }

    /// Returns a provider as it is published now, unless it was fetched a moment ago: for a token signed by a new key.
    pub(crate) async fn refetch_provider(
        &self,
        registration: &ClientRegistration,
    ) -> Result<Provider, OidcError> {
        self.find_since(registration, REFETCH_INTERVAL).await
    }

    async fn find_since(
        &self,
        registration: &ClientRegistration,
        age: Duration,
    ) -> Result<Provider, OidcError> {
        let known = self.known.lock().get(&registration.issuer).cloned();
        let metadata = match known {
            Some(known) if known.fetched.elapsed() < age => known.metadata,
            _ => self.fetch_metadata(&registration.issuer).await?,
        };
        let client = make_client(registration, &metadata);
        Ok(Provider { metadata, client })
    }

    async fn fetch_metadata(&self, issuer: &str) -> Result<Arc<Metadata>, OidcError> {
        let url =
            IssuerUrl::new(issuer.to_owned()).map_err(|_| OidcError::Issuer(issuer.to_owned()))?;
        let fetched = Metadata::discover_async(url, &self.http).await;
        let metadata = fetched.map_err(|error| OidcError::Discovery {
            issuer: issuer.to_owned(),
            problem: error_text(&error),
        })?;
        let metadata = Arc::new(metadata);
        let mut known = self.known.lock();
        if known.len() >= MOST_KEPT {
            known.retain(|_, provider| provider.fetched.elapsed() < KEPT_FOR);
        }
        if known.len() < MOST_KEPT {
            let provider = KnownProvider {
                metadata: Arc::clone(&metadata),
                fetched: Instant::now(),
            };
            known.insert(issuer.to_owned(), provider);
        }
        Ok(metadata)
    }
}

fn make_client(registration: &ClientRegistration, metadata: &Metadata) -> ProviderClient {
    let secret = registration.client_secret.as_ref();
    let secret = secret.map(|secret| ClientSecret::new(secret.to_string()));
    let id = ClientId::new(registration.client_id.clone());
    let mut client = ProviderClient::from_provider_metadata(metadata.clone(), id, secret);
    if let Some(callback) = &registration.callback {
        client = client.set_redirect_uri(RedirectUrl::from_url(callback.clone()));
    }
    // Basic authentication is every provider's default; some take the secret in the body only.
    let methods = metadata.token_endpoint_auth_methods_supported();
    let takes = |method| methods.is_some_and(|methods| methods.contains(&method));
    let in_body = takes(CoreClientAuthMethod::ClientSecretPost)
        && !takes(CoreClientAuthMethod::ClientSecretBasic);
    match in_body {
        true => client.set_auth_type(openidconnect::AuthType::RequestBody),
        false => client,
    }
}
