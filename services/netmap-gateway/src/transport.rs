//! From bytes to a proven machine key and its requests. Both transports end in the handlers of [`crate::machine`].

pub mod nacl;
pub mod noise;
mod websocket;

use std::time::Duration;

use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt as _;

use crate::{
    listener::{BodyShare, Connection},
    machine::RequestFailure,
};

/// The longest request body: a host's description of 64 KiB, and room for everything else in a request.
const LONGEST_BODY: usize = 256 << 10;
/// The longest body about tailnet lock: signatures of as many nodes as a lock is switched on for.
pub(crate) const LONGEST_LOCK_BODY: usize = 1 << 20;
/// How many bytes of each body are not counted against the limit for all bodies, so that ordinary requests get through
/// whatever others send.
const UNCOUNTED: usize = 8 << 10;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(15);

/// A body that was read, with its share of the memory for all bodies. The share is kept as long as what is made of the
/// body.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    pub(crate) bytes: Vec<u8>,
    pub(crate) share: BodyShare,
}

/// Reads a request body, bounded in size, in time, and in the memory that all bodies use.
pub(crate) async fn read_body(
    connection: &Connection,
    body: Body,
) -> Result<ReceivedBody, RequestFailure> {
    read_long_body(connection, body, LONGEST_BODY).await
}

/// Reads a request body that may be of another length.
pub(crate) async fn read_long_body(
    connection: &Connection,
    body: Body,
    longest: usize,
) -> Result<ReceivedBody, RequestFailure> {
    match tokio::time::timeout(BODY_TIME, collect_body(connection, body, longest)).await {
        Ok(result) => result,
        Err(_) => {
            let text = "the body did not arrive within 15 seconds";
            Err(RequestFailure::new(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

async fn collect_body(
    connection: &Connection,
    mut body: Body,
    longest: usize,
) -> Result<ReceivedBody, RequestFailure> {
    let too_long = || {
        let text = format!("the body is longer than {} KiB", longest >> 10);
        RequestFailure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    if http_body::Body::size_hint(&body).lower() > longest as u64 {
        return Err(too_long());
    }
    let mut share = connection.body_share();
    // One buffer: a list of small pieces would use far more memory than their bytes.
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            RequestFailure::new(StatusCode::BAD_REQUEST, "the body did not arrive whole")
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > longest {
            return Err(too_long());
        }
        let beyond = |length: usize| length.saturating_sub(UNCOUNTED);
        let counted = beyond(bytes.len() + data.len()) - beyond(bytes.len());
        if !share.grow(counted) {
            let text = "too many requests are being received: try again in a few seconds";
            return Err(RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(ReceivedBody { bytes, share })
}
