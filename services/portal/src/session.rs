//! The cookie of a person's session, and who the person is.

use axum::http::{HeaderMap, HeaderValue, header};
use bowline_proto::identity::v1::{
    BrowserDescription, GetSessionRequest, GetSessionResponse, Role, User,
    session_service_client::SessionServiceClient,
};
use bowline_service_kit::GrpcChannel;
use tonic::Code;
use zeroize::Zeroizing;

use crate::{
    cookies::{CookieName, check_form_token, make_form_token},
    failure::PageFailure,
    start::Portal,
};

const COOKIE: CookieName = CookieName {
    secure: "__Host-bowline-session",
    plain: "bowline-session",
};

/// Returns what a browser proves its session by.
pub(crate) fn read_secret(headers: &HeaderMap, is_https: bool) -> Option<Zeroizing<String>> {
    COOKIE.read_values(headers, is_https).next()
}

/// Returns the header that gives a browser its session, or (empty) takes it away.
pub(crate) fn set_cookie(secret: &str, is_https: bool) -> HeaderValue {
    COOKIE.set_header(secret, is_https)
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

    /// Returns the tailnet that the person is signed in to.
    pub(crate) fn tailnet_id(&self) -> u64 {
        let session = self.found.session.as_ref();
        session.map_or(0, |session| session.tailnet_id)
    }

    /// Says whether the person is offered to approve machines and people. Whether he or she may, the service called decides.
    pub(crate) fn administers(&self) -> bool {
        let role = self.found.user.as_ref().map(User::role);
        matches!(role, Some(Role::Owner | Role::Admin | Role::ItAdmin))
    }

    /// Returns the token of this person's forms: only a page that this browser was shown has it.
    pub(crate) fn form_token(&self) -> String {
        make_form_token("account", self.secret.as_bytes(), "")
    }

    /// Refuses a form that has another token.
    pub(crate) fn check_form_token(&self, token: &str) -> Result<(), PageFailure> {
        check_form_token(&self.form_token(), token)
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
