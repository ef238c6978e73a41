//! Logouts at the provider.

use chrono::{DateTime, Utc};
use serde_json::Value;
use url::Url;

use crate::{
    ClientRegistration, LogoutTokenError, OidcError, ProviderLogout, Providers,
    logout_token::{LogoutExpectation, read_logout_token},
    provider::check_endpoint,
};

/// What somebody has sent as a provider's word that a person has logged out.
#[derive(Clone, Copy, Debug)]
pub struct ProviderLogoutRequest<'a> {
    /// This server at the provider.
    pub registration: &'a ClientRegistration,
    /// The logout token.
    pub token: &'a str,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A browser whose session here has ended.
#[derive(Clone, Copy, Debug)]
pub struct BrowserLogoutRequest<'a> {
    /// This server at the provider, which sends the browser back to the callback.
    pub registration: &'a ClientRegistration,
    /// The ID token that the session began with: without it, most providers ask the person once more.
    pub id_token: Option<&'a str>,
    /// What the browser brings back.
    pub state: &'a str,
}

/// Returns where a browser is sent, so that its session at the provider ends, too; `None` where the provider has no such
/// address.
///
/// # Errors
///
/// When the provider can not be asked what it publishes.
pub async fn find_logout_url(
    providers: &Providers,
    request: BrowserLogoutRequest<'_>,
) -> Result<Option<Url>, OidcError> {
    let registration = request.registration;
    let provider = providers.find_provider(registration).await?;
    let published = &provider.metadata.additional_metadata().end_session_endpoint;
    let url = published.as_str().and_then(|text| text.parse().ok());
    // It is sent the person's ID token.
    let is_secure = registration.issuer.starts_with("https://");
    let is_safe = |url: &Url| check_endpoint("end_session_endpoint", url, is_secure).is_ok();
    let Some(mut url) = url.filter(is_safe) else {
        if *published != Value::Null {
            let issuer = &registration.issuer;
            tracing::warn!(
                issuer,
                "the end_session_endpoint of a provider is no safe URL"
            );
        }
        return Ok(None);
    };
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", &registration.client_id);
    if let Some(id_token) = request.id_token {
        query.append_pair("id_token_hint", id_token);
    }
    if let Some(callback) = &registration.callback {
        query.append_pair("post_logout_redirect_uri", callback.as_str());
    }
    query.append_pair("state", request.state);
    drop(query);
    Ok(Some(url))
}

/// Returns the logout that a provider has signed. That it is taken once is up to the caller.
///
/// # Errors
///
/// What is wrong with the token, or why the provider can not be asked for its keys.
pub async fn check_logout_token(
    providers: &Providers,
    request: ProviderLogoutRequest<'_>,
) -> Result<ProviderLogout, OidcError> {
    let ProviderLogoutRequest {
        registration,
        token,
        now,
    } = request;
    let expectation = LogoutExpectation {
        issuer: &registration.issuer,
        client_id: &registration.client_id,
        now,
    };
    let read = read_logout_token(token, &expectation)?;
    let provider = providers.find_provider(registration).await?;
    match read.verify(provider.metadata.jwks()) {
        // A provider that has changed its key signs with one that is not known here yet.
        Err(LogoutTokenError::UnknownKey) => {
            let provider = providers.refetch_provider(registration).await?;
            Ok(read.verify(provider.metadata.jwks())?)
        }
        verified => Ok(verified?),
    }
}
