//! `POST /logout/back-channel/CONNECTION`: a provider says that somebody has logged out there (OpenID Connect Back-Channel
//! Logout 1.0).

use std::{net::Ipv4Addr, time::Duration};

use axum::{
    Extension, Json,
    extract::{ConnectInfo, Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bowline_proto::identity::v1::EndProviderLoginRequest;
use serde_json::json;
use tonic::{Code, Status};

use crate::{account::Source, login::Portals, session::sessions};

/// Takes a provider's logout token.
pub(crate) async fn post_back_channel(
    State(portal): Portals,
    source: Source,
    Path(connection): Path<String>,
    body: String,
) -> Response {
    let source = source.map(|Extension(ConnectInfo(address))| address.ip());
    let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let now = tokio::time::Instant::now().into_std();
    let tried = match portal.logout_limits.begin_try(source, now) {
        Ok(tried) => tried,
        Err(wait) => return answer_wait(wait),
    };
    let (Ok(connection_id), Some(logout_token)) = (connection.parse(), read_token(&body)) else {
        let text = "send a form with the field logout_token to the address of a connection";
        return answer_error(StatusCode::BAD_REQUEST, text);
    };
    let request = EndProviderLoginRequest {
        connection_id,
        logout_token,
    };
    let ended = sessions(&portal).end_provider_login(request).await;
    // While identity is away, nobody knows whether a token is wrong.
    if ended.as_ref().err().is_none_or(|status| !is_wrong(status)) {
        tried.note_right();
    }
    match ended {
        Ok(_) => StatusCode::OK.into_response(),
        Err(status) => {
            tracing::info!(
                connection_id,
                said = status.message(),
                "a logout token ends nothing"
            );
            answer_error(StatusCode::BAD_REQUEST, &failure_text(&status))
        }
    }
}

fn answer_wait(wait: Duration) -> Response {
    let text = "too many logout tokens of this network are wrong: wait";
    let mut response = answer_error(StatusCode::TOO_MANY_REQUESTS, text);
    let wait = HeaderValue::from(wait.as_secs() + 1);
    response.headers_mut().insert(header::RETRY_AFTER, wait);
    response
}

/// Says whether it is the sender who is wrong.
fn is_wrong(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument
    )
}

/// Returns the token of a form that has it once.
fn read_token(body: &str) -> Option<String> {
    let fields = url::form_urlencoded::parse(body.as_bytes());
    let mut tokens = fields.filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then(|| token.into_owned())
}

/// Says what is wrong, as far as it is the sender's business.
fn failure_text(status: &Status) -> String {
    match status.code() {
        Code::NotFound => "there is no such OpenID Connect connection".to_owned(),
        _ if is_wrong(status) => status.message().to_owned(),
        _ => "the logout can not be done now: send another logout token in a moment".to_owned(),
    }
}

fn answer_error(status: StatusCode, description: &str) -> Response {
    let body = json!({ "error": "invalid_request", "error_description": description });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests;
