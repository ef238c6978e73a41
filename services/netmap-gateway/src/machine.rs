//! Requests of machines, whichever transport they came by.

pub mod attributes;
mod host;
mod login_wait;
pub mod map;
mod refusals;
pub mod register;
pub mod ssh;
pub mod tailnet_lock;
mod waits;

pub(crate) use refusals::RefusalLog;
pub(crate) use waits::FollowupWaits;

use std::time::Duration;

use axum::{
    Extension,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bowline_control_wire::RequestError;
use bowline_keys::{MachinePublic, NodePublic};
use bowline_service_kit::networks::Network;
use tonic::{Code, Status};

use crate::{listener::Connection, turns::RequestOrigin};

/// A machine that makes a request, as its transport has proven it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The machine key.
    pub key: MachinePublic,
    /// The connection it asks on.
    pub connection: Connection,
    /// The node keys that the request proves its client to hold.
    pub proven: Vec<NodePublic>,
}

impl Machine {
    /// Returns as whom its requests wait for their turn.
    pub(crate) fn request_origin(&self) -> RequestOrigin {
        match self.connection.holder() {
            Some(holder) => RequestOrigin::Known(holder.node),
            None => RequestOrigin::Stranger(Network::narrowest(self.connection.source())),
        }
    }

    /// Refuses the request while the gateway drains, so that the machine asks another gateway.
    ///
    /// # Errors
    ///
    /// 503 with a time to try again, and the connection closes.
    fn refuse_in_drain(&self) -> Result<(), RequestFailure> {
        if self.connection.is_draining() {
            self.connection.close_soon();
            return Err(draining_failure());
        }
        Ok(())
    }
}

fn draining_failure() -> RequestFailure {
    let text = "this gateway is being stopped: ask again, and another one answers";
    RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// The registry's reason when a device did something too often: only then its message is meant for the device.
const TOO_OFTEN: &str = "TOO_OFTEN";

/// The longest text of a refusal: it may repeat what was sent.
const LONGEST_TEXT: usize = 500;

/// A request that is answered with plain text.
#[derive(Debug)]
pub struct RequestFailure {
    status: StatusCode,
    text: String,
    /// How long the client should wait before it tries again.
    wait: Duration,
}

/// How long the client should wait before it tries again. Handlers attach it to a response; the listener makes
/// `Retry-After` of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryTime(pub(crate) Duration);

impl RequestFailure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        let wait = Duration::ZERO;
        Self { status, text, wait }
    }

    /// Adds how long the client should wait before it tries again.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

#[cfg(test)]
impl RequestFailure {
    pub(crate) const fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) const fn wait(&self) -> Duration {
        self.wait
    }
}

impl From<RequestError> for RequestFailure {
    fn from(error: RequestError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<Status> for RequestFailure {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::PermissionDenied | Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => {
                tracing::debug!(%status, "a service has reached a limit");
                let wait = bowline_service_kit::retry_after(&status).unwrap_or(Duration::ZERO);
                if bowline_service_kit::status_reason(&status).as_deref() == Some(TOO_OFTEN) {
                    return Self::new(StatusCode::TOO_MANY_REQUESTS, status.message())
                        .retry_after(wait);
                }
                // The message names services inside, so clients do not get it.
                let text = "too many ask for this at the moment: try again in a few minutes";
                return Self::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait);
            }
            _ => {
                tracing::warn!(%status, "a service could not answer");
                let text = "the server can not do this at the moment: try again in a few seconds";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        Self::new(code, status.message())
    }
}

impl IntoResponse for RequestFailure {
    fn into_response(self) -> Response {
        // The listener makes `Retry-After` of it.
        let wait = Extension(RetryTime(self.wait));
        (self.status, wait, self.text).into_response()
    }
}
