//! What providers publish of themselves, fetched once for a while.
//!
//! A provider that can not be asked is asked by one caller at a time, and left alone for a few seconds after each failure.

mod memory;
mod published;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_http_client::HttpClient;
use openidconnect::{ClientId, ClientSecret, IssuerUrl, RedirectUrl, core::CoreClientAuthMethod};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    OidcError,
    error::describe_problem,
    http::ProviderHttp,
    types::{Metadata, ProviderClient},
};

use memory::{AskTurn, ProviderMemory};
pub(crate) use published::check_endpoint;
use published::check_published;

/// How long what a provider publishes is used: a key that it has taken back is trusted this long.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How soon it is fetched again because a token names a key that is not known: anybody can write such a token.
const REFETCH_INTERVAL: Duration = Duration::from_secs(5);
/// How long fetching it may take: less than a call of this service may, so that a caller is told what is wrong.
const LONGEST_FETCH: Duration = Duration::from_secs(8);
/// The most providers that are remembered, and about how many bytes of what they publish.
const MOST_KEPT: usize = 4000;
const MOST_KEPT_BYTES: usize = 64 << 20;

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
    known: Arc<Mutex<BTreeMap<String, Arc<ProviderMemory>>>>,
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

    /// Makes sure that a provider can be asked, as far as that is known without asking about a person.
    ///
    /// # Errors
    ///
    /// When it can not be asked, or publishes what can not be used.
    pub async fn require_provider(
        &self,
        registration: &ClientRegistration,
    ) -> Result<(), OidcError> {
        self.find_provider(registration).await.map(drop)
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
        let memory = self.remember_provider(&registration.issuer);
        let metadata = match memory.recall(age, Instant::now()) {
            Some(known) => known?,
            None => match memory.await_turn(age).await {
                AskTurn::Known(known) => known?,
                AskTurn::Ask(_turn) => self.fetch_metadata(&registration.issuer, &memory).await?,
            },
        };
        let client = make_client(registration, &metadata);
        Ok(Provider { metadata, client })
    }

    fn remember_provider(&self, issuer: &str) -> Arc<ProviderMemory> {
        let mut known = self.known.lock();
        if let Some(memory) = known.get(issuer) {
            return Arc::clone(memory);
        }
        let memory = Arc::new(ProviderMemory::new(issuer.to_owned()));
        known.insert(issuer.to_owned(), Arc::clone(&memory));
        forget_oldest(&mut known, MOST_KEPT, MOST_KEPT_BYTES);
        memory
    }

    async fn fetch_metadata(
        &self,
        issuer: &str,
        memory: &ProviderMemory,
    ) -> Result<Arc<Metadata>, OidcError> {
        let url =
            IssuerUrl::new(issuer.to_owned()).map_err(|_| OidcError::Issuer(issuer.to_owned()))?;
        let fetched = timeout(LONGEST_FETCH, Metadata::discover_async(url, &self.http)).await;
        let fetched = match fetched {
            Ok(Ok(metadata)) => check_published(issuer, &metadata).map(|()| metadata),
            Ok(Err(error)) => Err(describe_problem(&error)),
            Err(_) => Err(format!(
                "no answer within {} seconds",
                LONGEST_FETCH.as_secs()
            )),
        };
        let metadata = Arc::new(fetched.map_err(|problem| memory.note_failure(problem))?);
        memory.note_published(&metadata);
        forget_oldest(&mut self.known.lock(), MOST_KEPT, MOST_KEPT_BYTES);
        Ok(metadata)
    }
}

/// Forgets the providers that answered longest ago while there are too many, or too much is known of them. Those that are asked
/// at the moment stay.
fn forget_oldest(
    known: &mut BTreeMap<String, Arc<ProviderMemory>>,
    most: usize,
    most_bytes: usize,
) {
    let mut bytes: usize = known.values().map(|memory| memory.count_bytes()).sum();
    while known.len() > most || bytes > most_bytes {
        let idle = known
            .iter()
            .filter(|(_, memory)| Arc::strong_count(memory) == 1);
        let oldest = idle.min_by_key(|(_, memory)| memory.last_asked());
        let Some(issuer) = oldest.map(|(issuer, _)| issuer.clone()) else {
            return;
        };
        if let Some(memory) = known.remove(&issuer) {
            bytes -= memory.count_bytes();
        }
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
    match takes_secret_in_body(metadata) {
        true => client.set_auth_type(openidconnect::AuthType::RequestBody),
        false => client,
    }
}

/// Says how a provider takes the client's secret. Basic authentication is every provider's default; some take it in the body only.
pub(crate) fn takes_secret_in_body(metadata: &Metadata) -> bool {
    let methods = metadata.token_endpoint_auth_methods_supported();
    let takes = |method| methods.is_some_and(|methods| methods.contains(&method));
    takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic)
}

#[cfg(test)]
mod tests;
