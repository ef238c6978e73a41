//! Why no token is given, in the words of the standards.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bowline_service_kit::retry_after;
use serde_json::json;
use tonic::{Code, Status};

/// A failure (RFC 6749 section 5.2, RFC 8628 section 3.5).
#[derive(Debug)]
pub(super) struct OAuthFailure {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    description: String,
    wait: Option<Duration>,
}

impl OAuthFailure {
    pub(super) fn new(
        status: StatusCode,
        error: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            wait: None,
        }
    }

    pub(super) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub(super) fn slow_down(description: &str, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", description)
        }
    }

    /// Too many tries of a network were wrong.
    pub(super) fn of_network(wait: Duration) -> Self {
        Self::slow_down("too many tries come from this network", wait)
    }

    pub(super) fn from_status(status: &Status) -> Self {
        let said = status.message();
        match status.code() {
            Code::Unauthenticated => Self::new(StatusCode::UNAUTHORIZED, "invalid_client", said),
            Code::InvalidArgument => Self::new(StatusCode::BAD_REQUEST, "invalid_scope", said),
            Code::ResourceExhausted => {
                Self::slow_down(said, retry_after(status).unwrap_or_default())
            }
            code => {
                tracing::warn!(?code, said, "identity gives no token");
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

    pub(super) fn into_response(self) -> Response {
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
