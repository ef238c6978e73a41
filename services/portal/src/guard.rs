//! What each request passes: the host is this one, a form comes from a page of this origin, and answers say what browsers
//! may do with them.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use bowline_proto::addresses::SAML_CONSUMER;

use crate::{failure::PageFailure, pages, start::Portal};

/// Pages load their own stylesheet and the one script for passkeys, send forms to this origin, and stand in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns what browsers may do with a page that sends its form to one other origin.
pub(crate) fn policy_for_form(origin: &str) -> HeaderValue {
    let policy = POLICY.replace("form-action 'self'", &format!("form-action {origin}"));
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(POLICY))
}

pub(crate) async fn check_request(
    State(portal): State<Arc<Portal>>,
    request: Request,
    next: Next,
) -> Response {
    // A provider's page posts there, and the page it leads to proves whose browser it is.
    let is_from_elsewhere = request.uri().path() == SAML_CONSUMER;
    let mut response = match check_origin(
        &portal,
        request.method(),
        request.headers(),
        request.uri().authority().map(Authority::as_str),
        is_from_elsewhere,
    ) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_page(),
    };
    let headers = response.headers_mut();
    // A page that sends a form to a provider says so itself.
    let policy = headers.entry(header::CONTENT_SECURITY_POLICY);
    policy.or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer" browsers would leave out the origin of forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages show who logs in with which device. What may be kept says so itself.
    let entry = headers.entry(header::CACHE_CONTROL);
    entry.or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Says whether a request is for the public host. HTTP/2 has the host in the request's address.
pub(crate) fn is_own_host(portal: &Portal, headers: &HeaderMap, authority: Option<&str>) -> bool {
    let named = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    let host = named.or(authority).unwrap_or_default();
    host.eq_ignore_ascii_case(&portal.host)
}

/// Refuses another host than the public one (an address that only looks like this server), and a form of another origin.
fn check_origin(
    portal: &Portal,
    method: &Method,
    headers: &HeaderMap,
    authority: Option<&str>,
    is_from_elsewhere: bool,
) -> Result<(), PageFailure> {
    let header = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    if !is_own_host(portal, headers, authority) {
        return Err(PageFailure::OtherHost);
    }
    if method != Method::POST || is_from_elsewhere {
        return Ok(());
    }
    match (
        header(header::ORIGIN),
        header(header::HeaderName::from_static("sec-fetch-site")),
    ) {
        (Some(origin), _) if origin.eq_ignore_ascii_case(&portal.origin) => Ok(()),
        // No page of another origin can make a browser leave out the origin of a form that it sends.
        (None, None | Some("same-origin")) => Ok(()),
        _ => Err(PageFailure::OtherOrigin),
    }
}

impl PageFailure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::OtherHost => StatusCode::MISDIRECTED_REQUEST,
            Self::OtherOrigin | Self::NoBrowser | Self::WrongToken => StatusCode::FORBIDDEN,
            Self::SignedOut => StatusCode::UNAUTHORIZED,
            Self::NotKnown | Self::LinkUsed => StatusCode::NOT_FOUND,
            Self::Refused(_) | Self::NotAllowed | Self::AwaitsApproval => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the page that says what went wrong and what to do.
    pub(crate) fn into_page(self) -> Response {
        pages::failure_page(self.status(), &self)
    }
}
