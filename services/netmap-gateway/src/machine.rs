//! What a machine asks, whichever transport it came by.

mod host;
pub mod map;
pub mod register;
pub mod ssh;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bowline_control_wire::RequestError;
use bowline_keys::{MachinePublic, NodePublic};
use tonic::{Code, Status};

use crate::listener::Connection;

/// Who asks: proven by the transport.
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
    /// Lets a machine whose gateway drains ask another one.
    ///
    /// # Errors
    ///
    /// 503 with a time to try again, and the connection closes.
    fn refuse_in_drain(&self) -> Result<(), Failure> {
        if self.connection.is_draining() {
            self.connection.leave();
            return Err(draining());
        }
        Ok(())
    }
}

fn draining() -> Failure {
    let text = "this gateway is being stopped: ask again, and another one answers";
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// The longest text of a refusal: it may repeat what was sent.
const LONGEST_TEXT: usize = 500;

/// A request that is answered with plain text.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    text: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        Self { status, text }
    }
}

#[cfg(test)]
impl Failure {
    pub(crate) const fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::PermissionDenied | Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => {
                tracing::warn!(%status, "a service could not answer");
                let text = "the server can not do this at the moment: try again in a few seconds";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, text);
            }
        };
        Self::new(code, status.message())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        let waits = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if waits.contains(&self.status) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
