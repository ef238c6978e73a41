//! `POST /oauth/token`: an OAuth client gets an access token with its secret (RFC 6749, client credentials).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_proto::identity::v1::{
    IssueAccessTokenRequest, token_service_client::TokenServiceClient,
};
use bowline_service_kit::{rate_limit::RateLimit, retry_after};
use bowline_tokens::PresentedToken;
use serde_json::json;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::{limits::MustWait, start::Portal};

/// Tokens of one client: 60 at once, then one in two seconds. Each lives for an hour.
pub(crate) const OAUTH_TURNS: RateLimit = RateLimit::new(60, Duration::from_secs(2));

/// Why no token is given, in the words of RFC 6749 section 5.2.
#[derive(Debug)]
struct OAuthFailure {
    status: StatusCode,
    error: &'static str,
    description: String,
    wait: Option<Duration>,
}

impl OAuthFailure {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            wait: None,
        }
    }

    fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    fn slow_down(description: &str, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", description)
        }
    }

    fn from_status(status: &Status) -> Self {
        let said = status.message();
        match status.code() {
            Code::Unauthenticated => Self::new(StatusCode::UNAUTHORIZED, "invalid_client", said),
            Code::InvalidArgument => Self::new(StatusCode::BAD_REQUEST, "invalid_scope", said),
            Code::ResourceExhausted => {
                Self::slow_down(said, retry_after(status).unwrap_or_default())
            }
            code => {
                tracing::warn!(?code, said, "identity gives no access token");
                let text = "identity can not answer now: try again";
                Self {
                    wait: Some(Duration::from_secs(1)),
                    ..Self::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "temporarily_unavailable",
                        text,
                    )
                }
            }
        }
    }

    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Basic realm=\"bowline\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

/// What a client asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct TokenRequest {
    secret: Zeroizing<String>,
    scopes: Vec<String>,
    tags: Vec<String>,
}

/// Gives a token.
pub(crate) async fn post_token(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let body = Zeroizing::new(body);
    let answer = give_token(&portal, source.ip(), &headers, &body).await;
    let mut response = answer.unwrap_or_else(OAuthFailure::into_response);
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::PRAGMA, no_cache);
    response
}

async fn give_token(
    portal: &Portal,
    source: IpAddr,
    headers: &HeaderMap,
    body: &str,
) -> Result<Response, OAuthFailure> {
    let request = read_request(headers, body)?;
    let presented = PresentedToken::parse(&request.secret);
    let client = presented.map_or_else(String::new, |token| token.id().to_owned());
    let now = tokio::time::Instant::now().into_std();
    let limits = &portal.oauth_limits;
    let tried = limits
        .begin_try(source, &client, now)
        .map_err(|wait| match wait {
            MustWait::Network(wait) => {
                OAuthFailure::slow_down("too many tries come from this network", wait)
            }
            MustWait::Holder(wait) => OAuthFailure::slow_down(
                "this client asks too often: use a token until it ends",
                wait,
            ),
        })?;
    let mut identity = TokenServiceClient::new(portal.identity.clone());
    let issued = identity
        .issue_access_token(IssueAccessTokenRequest {
            client_secret: request.secret.to_string(),
            scopes: request.scopes,
            tags: request.tags,
        })
        .await;
    let is_wrong = matches!(&issued, Err(status) if status.code() == Code::Unauthenticated);
    if !is_wrong {
        tried.note_right();
    }
    let issued = issued.map_err(|status| OAuthFailure::from_status(&status))?;
    let issued = issued.into_inner();
    let answer = json!({
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scopes.join(" "),
    });
    Ok(Json(answer).into_response())
}

/// Reads a request: the secret comes by HTTP Basic or in the form, and says which client it is.
fn read_request(headers: &HeaderMap, body: &str) -> Result<TokenRequest, OAuthFailure> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let text = "the request is a form: send it as application/x-www-form-urlencoded";
        return Err(OAuthFailure::invalid_request(text));
    }
    let mut request = TokenRequest::default();
    let mut grant = None;
    let mut seen = Vec::new();
    for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
        if seen.contains(&name) {
            return Err(OAuthFailure::invalid_request(format!(
                "{name} is there twice"
            )));
        }
        let words = || value.split_whitespace().map(str::to_owned).collect();
        match &*name {
            "grant_type" => grant = Some(value.into_owned()),
            "client_secret" => request.secret = Zeroizing::new(value.into_owned()),
            "scope" => request.scopes = words(),
            "tags" => request.tags = words(),
            // The secret says which client it is.
            _ => {}
        }
        seen.push(name);
    }
    match grant.as_deref() {
        Some("client_credentials") => {}
        None => return Err(OAuthFailure::invalid_request("grant_type is missing")),
        Some(_) => {
            let text = "the grant_type is client_credentials, and no other";
            let status = StatusCode::BAD_REQUEST;
            return Err(OAuthFailure::new(status, "unsupported_grant_type", text));
        }
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        if !request.secret.is_empty() {
            let text = "the secret comes by HTTP Basic or in the form, not both";
            return Err(OAuthFailure::invalid_request(text));
        }
        request.secret = read_basic_secret(value).ok_or_else(|| {
            let text = "the authorization is none of HTTP Basic";
            OAuthFailure::new(StatusCode::UNAUTHORIZED, "invalid_client", text)
        })?;
    }
    match request.secret.is_empty() {
        false => Ok(request),
        true => {
            let text = "the client's secret is missing: send it by HTTP Basic or as client_secret";
            Err(OAuthFailure::new(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                text,
            ))
        }
    }
}

fn read_basic_secret(value: &HeaderValue) -> Option<Zeroizing<String>> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (_, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(secret.to_owned()))
}

#[cfg(test)]
mod tests;
