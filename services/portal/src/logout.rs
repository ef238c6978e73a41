//! `POST /logout/back-channel/CONNECTION`: a provider says that somebody has logged out there (OpenID Connect Back-Channel
//! Logout 1.0).

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use axum::{
    Extension, Json,
    extract::{ConnectInfo, Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bowline_proto::identity::v1::EndProviderLoginRequest;
use bowline_service_kit::{
    networks::Network,
    rate_limit::{RateLimit, TokenBuckets},
};
use parking_lot::Mutex;
use serde_json::json;
use tonic::{Code, Status};

use crate::{account::Source, login::Portals, session::sessions};

/// Tokens that are not believed, of one network: 20 at once, then one in five seconds. A provider that logs out a thousand
/// people sends none.
const FAILURES: RateLimit = RateLimit::new(20, Duration::from_secs(5));
/// How many networks are remembered.
const MOST_NETWORKS: usize = 10_000;

/// How often the logout tokens of a network may be wrong. Each gateway counts for itself.
#[derive(Debug)]
pub(crate) struct LogoutLimits(Mutex<TokenBuckets<IpAddr>>);

impl Default for LogoutLimits {
    fn default() -> Self {
        Self(Mutex::new(TokenBuckets::new(FAILURES, MOST_NETWORKS)))
    }
}

/// Takes a provider's logout token.
pub(crate) async fn post_back_channel(
    State(portal): Portals,
    source: Source,
    Path(connection): Path<String>,
    body: String,
) -> Response {
    let source = source.map(|Extension(ConnectInfo(address))| address.ip());
    let network = Network::narrowest(source.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
    let network = network.first_address();
    let now = tokio::time::Instant::now().into_std();
    if let Err(wait) = take_try(&portal.logout_limits, network, now) {
        let text = "too many logout tokens of this network are wrong: wait";
        let mut response = answer_error(StatusCode::TOO_MANY_REQUESTS, text);
        let wait = HeaderValue::from(wait.as_secs() + 1);
        response.headers_mut().insert(header::RETRY_AFTER, wait);
        return response;
    }
    let (Ok(connection_id), Some(logout_token)) = (connection.parse(), read_token(&body)) else {
        let text = "send a form with the field logout_token to the address of a connection";
        return answer_error(StatusCode::BAD_REQUEST, text);
    };
    let request = EndProviderLoginRequest {
        connection_id,
        logout_token,
    };
    match sessions(&portal).end_provider_login(request).await {
        Ok(_) => {
            portal.logout_limits.0.lock().return_token(&network);
            StatusCode::OK.into_response()
        }
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

fn take_try(limits: &LogoutLimits, network: IpAddr, now: Instant) -> Result<(), Duration> {
    limits.0.lock().take_token(network, now)
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
        Code::FailedPrecondition | Code::InvalidArgument => status.message().to_owned(),
        _ => "the logout can not be done now: send another logout token in a moment".to_owned(),
    }
}

fn answer_error(status: StatusCode, description: &str) -> Response {
    let body = json!({ "error": "invalid_request", "error_description": description });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests;
