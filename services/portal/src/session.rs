//! The cookie of a person's session, and who the person is.

use axum::http::{HeaderMap, HeaderValue, header};
use bowline_proto::identity::v1::{
    BrowserDescription, GetSessionRequest, GetSessionResponse,
    session_service_client::SessionServiceClient,
};
use bowline_service_kit::GrpcChannel;
use cookie::{Cookie, SameSite};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::Code;
use zeroize::Zeroizing;

use crate::{failure::PageFailure, start::Portal};

/// The cookie where browsers come by TLS: the prefix keeps other hosts and plain HTTP from setting it.
const NAME: &str = "__Host-bowline-session";
/// The cookie without TLS.
const PLAIN_NAME: &str = "bowline-session";

fn cookie_name(is_https: bool) -> &'static str {
    if is_https { NAME } else { PLAIN_NAME }
}

/// Returns what a browser proves its session by.
pub(crate) fn read_secret(headers: &HeaderMap, is_https: bool) -> Option<Zeroizing<String>> {
    let name = cookie_name(is_https);
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| Cookie::split_parse(line.to_owned()))
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| Zeroizing::new(cookie.value().to_owned()))
}

/// Returns the header that gives a browser its session, or (empty) takes it away. The browser forgets it when it is closed.
pub(crate) fn set_cookie(secret: &str, is_https: bool) -> HeaderValue {
    let mut cookie = Cookie::build((cookie_name(is_https), secret))
        .path("/")
        .http_only(true)
        .secure(is_https)
        .same_site(SameSite::Lax)
        .build();
    if secret.is_empty() {
        cookie.make_removal();
    }
    let mut value =
        HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// A person whose session was found.
pub(crate) struct SignedIn {
    pub(crate) secret: Zeroizing<String>,
    pub(crate) found: GetSessionResponse,
}

impl SignedIn {
    /// Finds the person of a request; `None` when nobody is signed in.
    pub(crate) async fn find(
        portal: &Portal,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, PageFailure> {
        let Some(secret) = read_secret(headers, portal.is_https) else {
            return Ok(None);
        };
        let request = GetSessionRequest {
            secret: secret.to_string(),
        };
        match sessions(portal).get_session(request).await {
            Ok(found) => Ok(Some(Self {
                secret,
                found: found.into_inner(),
            })),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Finds the person of a request that nobody else may make.
    pub(crate) async fn require(portal: &Portal, headers: &HeaderMap) -> Result<Self, PageFailure> {
        Self::find(portal, headers)
            .await?
            .ok_or(PageFailure::SignedOut)
    }

    /// Returns the token of this person's forms: only a page that this browser was shown has it.
    pub(crate) fn form_token(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"account-form\0");
        hash.update(self.secret.as_bytes());
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Refuses a form that has another token.
    pub(crate) fn check_form_token(&self, token: &str) -> Result<(), PageFailure> {
        match bool::from(self.form_token().as_bytes().ct_eq(token.as_bytes())) {
            true => Ok(()),
            false => Err(PageFailure::WrongToken),
        }
    }

    /// Puts what proves the person into a call: the service called decides what he or she may do.
    pub(crate) fn authorize<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let bearer = Zeroizing::new(format!("Bearer {}", *self.secret));
        if let Ok(mut value) = tonic::metadata::MetadataValue::try_from(bearer.as_str()) {
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}

/// Says what the server sees of a browser.
pub(crate) fn describe_browser(headers: &HeaderMap, source_address: String) -> BrowserDescription {
    let user_agent = headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    BrowserDescription {
        source_address,
        user_agent: user_agent.unwrap_or_default().to_owned(),
    }
}

pub(crate) fn sessions(portal: &Portal) -> SessionServiceClient<GrpcChannel> {
    SessionServiceClient::new(portal.identity.clone())
}

#[cfg(test)]
mod tests;
