//! OAuth, for programs: JSON, and no pages.
//!
//! An OAuth client gets access tokens with its secret (RFC 6749, client credentials). A program at a terminal gets a session when
//! its person says so in a browser (RFC 8628), and gives it back (RFC 7009).

mod clients;
mod failure;
mod form;
mod programs;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bowline_proto::identity::v1::CloseSessionRequest;
use bowline_tokens::{PresentedToken, TokenKind};
use serde_json::json;
use zeroize::Zeroizing;

use clients::ClientRequest;
pub(crate) use clients::OAUTH_TURNS;
use failure::OAuthFailure;
use form::OAuthForm;
pub(crate) use programs::{PROGRAM_TURNS, get_program};

use crate::{session::sessions, start::Portal};

/// The grant of a program whose person logs in elsewhere (RFC 8628 section 3.4).
const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Gives a token.
pub(crate) async fn post_token(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let body = Zeroizing::new(body);
    let answer = async {
        let mut form = OAuthForm::read(&headers, &body)?;
        match form.take("grant_type").as_str() {
            "client_credentials" => {
                let request = ClientRequest::read(&headers, form)?;
                clients::give_token(&portal, source.ip(), request).await
            }
            DEVICE_CODE_GRANT => {
                let code = form.require("device_code")?;
                programs::give_session(&portal, source.ip(), &code).await
            }
            "" => Err(OAuthFailure::invalid_request("grant_type is missing")),
            _ => {
                let text = format!("the grant_type is client_credentials or {DEVICE_CODE_GRANT}");
                let status = StatusCode::BAD_REQUEST;
                Err(OAuthFailure::new(status, "unsupported_grant_type", text))
            }
        }
    };
    finish(answer.await)
}

/// Gives a program codes: one that it shows its person, and one that it gets a session with.
pub(crate) async fn post_device_authorization(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let answer = async {
        let form = OAuthForm::read(&headers, &body)?;
        programs::begin_login(&portal, source, &headers, form).await
    };
    finish(answer.await)
}

/// Ends a session that a program has. It is no failure when there is none any more (RFC 7009 section 2.2).
pub(crate) async fn post_revocation(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let body = Zeroizing::new(body);
    let answer = async {
        let secret = OAuthForm::read(&headers, &body)?.require("token")?;
        if PresentedToken::parse_as(TokenKind::Session, &secret).is_none() {
            let text = "this is no session's token: an access token ends by itself, an API key by bowline api-keys revoke";
            let status = StatusCode::BAD_REQUEST;
            return Err(OAuthFailure::new(status, "unsupported_token_type", text));
        }
        let now = tokio::time::Instant::now().into_std();
        let tried = portal.revocation_limits.begin_try(source.ip(), now);
        let tried = tried.map_err(OAuthFailure::of_network)?;
        let request = CloseSessionRequest {
            secret: secret.to_string(),
            callback_url: String::new(),
        };
        let closed = sessions(&portal).close_session(request).await;
        let is_guess = matches!(&closed, Ok(closed) if !closed.get_ref().ended);
        if !is_guess {
            tried.note_right();
        }
        closed.map_err(|status| OAuthFailure::from_status(&status))?;
        Ok(Json(json!({})).into_response())
    };
    finish(answer.await)
}

fn finish(answer: Result<Response, OAuthFailure>) -> Response {
    let mut response = answer.unwrap_or_else(OAuthFailure::into_response);
    let no_cache = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::PRAGMA, no_cache);
    response
}
