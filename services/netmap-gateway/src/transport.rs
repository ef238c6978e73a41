//! From bytes to a proven machine key and its requests. Both transports end in the handlers of [`crate::machine`].

pub mod nacl;
pub mod noise;
mod websocket;

use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;

use crate::machine::Failure;

/// The longest request body.
const LONGEST_BODY: usize = 1 << 20;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(15);

/// Reads a request body, bounded in size and time.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, Failure> {
    match tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, LONGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let text = "the body did not arrive, or is longer than 1 MiB";
            Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text))
        }
        Err(_) => {
            let text = "the body did not arrive within 15 seconds";
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}
