//! OAuth clients, who get access tokens with their secrets.

use std::{net::IpAddr, time::Duration};

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_proto::identity::v1::{
    IssueAccessTokenRequest, token_service_client::TokenServiceClient,
};
use bowline_service_kit::rate_limit::RateLimit;
use bowline_tokens::PresentedToken;
use serde_json::json;
use tonic::Code;
use zeroize::Zeroizing;

use super::{failure::OAuthFailure, form::OAuthForm};
use crate::{limits::MustWait, start::Portal};

/// Tokens of one client: 60 at once, then one in two seconds. Each lives for an hour.
pub(crate) const OAUTH_TURNS: RateLimit = RateLimit::new(60, Duration::from_secs(2));

/// What a client asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientRequest {
    pub(super) secret: Zeroizing<String>,
    pub(super) scopes: Vec<String>,
    tags: Vec<String>,
}

impl ClientRequest {
    /// Reads a request: the secret comes by HTTP Basic or in the form, and says which client it is.
    pub(super) fn read(headers: &HeaderMap, mut form: OAuthForm) -> Result<Self, OAuthFailure> {
        let mut request = Self {
            secret: form.take("client_secret"),
            scopes: form.take_words("scope"),
            tags: form.take_words("tags"),
        };
        let unproven =
            |text: &str| OAuthFailure::new(StatusCode::UNAUTHORIZED, "invalid_client", text);
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            if !request.secret.is_empty() {
                let text = "the secret comes by HTTP Basic or in the form, not both";
                return Err(OAuthFailure::invalid_request(text));
            }
            request.secret = read_basic_secret(value)
                .ok_or_else(|| unproven("the authorization is none of HTTP Basic"))?;
        }
        match request.secret.is_empty() {
            false => Ok(request),
            true => Err(unproven(
                "the client's secret is missing: send it by HTTP Basic or as client_secret",
            )),
        }
    }
}

/// Gives a client a token.
pub(super) async fn give_token(
    portal: &Portal,
    source: IpAddr,
    request: ClientRequest,
) -> Result<Response, OAuthFailure> {
    let presented = PresentedToken::parse(&request.secret);
    let client = presented.map_or_else(String::new, |token| token.id().to_owned());
    let now = tokio::time::Instant::now().into_std();
    let limits = &portal.oauth_limits;
    let tried = limits
        .begin_try(source, &client, now)
        .map_err(|wait| match wait {
            MustWait::Network(wait) => OAuthFailure::of_network(wait),
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
