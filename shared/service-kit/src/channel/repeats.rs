//! Calls that are sent once more when their answer is lost, and done once all the same.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_proto::access::{IDEMPOTENCY_KEY, find_rule, is_idempotency_key};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;

use super::GrpcChannel;

/// How long a caller waits before a call is sent again: a server that restarts is back, or another has its place.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the idempotency keys of calls come from: each is random, or made of one that was chosen. Clones share it.
#[derive(Clone, Default)]
pub struct IdempotencyKeys {
    chosen: Option<HeaderValue>,
    calls: Arc<AtomicU64>,
}

impl IdempotencyKeys {
    /// Returns keys for a work that is named by a chosen key: the first call has it, later ones what is made of it and their
    /// number. `None`: it can be no key.
    #[must_use]
    pub fn from_chosen(key: &str) -> Option<Self> {
        let is_key = is_idempotency_key(key.as_bytes());
        let mut chosen = HeaderValue::from_str(key).ok().filter(|_| is_key)?;
        chosen.set_sensitive(true);
        Some(Self {
            chosen: Some(chosen),
            calls: Arc::default(),
        })
    }

    /// Returns the key of the next call.
    pub(super) fn next_key(&self) -> HeaderValue {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let bits = match &self.chosen {
            Some(chosen) if number == 0 => return chosen.clone(),
            Some(chosen) => {
                let hash = Sha256::new_with_prefix(chosen.as_bytes());
                let hash = hash.chain_update(number.to_be_bytes()).finalize();
                u128::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
            }
            None => u128::from_be_bytes(random_bytes()),
        };
        let text = format!("{bits:032x}");
        let mut key = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        key.set_sensitive(true);
        key
    }
}

impl fmt::Debug for IdempotencyKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdempotencyKeys")
    }
}

/// Tells whether calls of an RPC take a key.
pub(super) fn takes_key(path: &str) -> bool {
    find_rule(path).is_some_and(|rule| rule.takes_idempotency_key())
}

/// Sends a call with a key, and once more when no answer comes.
pub(super) async fn send_until_answered(
    mut channel: GrpcChannel,
    key: HeaderValue,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(IDEMPOTENCY_KEY, key);
    let body = body.collect().await?.to_bytes();
    let mut send = async || {
        let body = Body::new(Full::new(body.clone()));
        let answer = channel
            .call(Request::from_parts(parts.clone(), body))
            .await?;
        read_answer(answer).await
    };
    match send().await {
        Err(lost) if lost.code() == Code::Unavailable => {
            tracing::info!(%lost, "a call is sent again");
            tokio::time::sleep(PAUSE).await;
            send().await
        }
        answer => answer,
    }
}

/// Reads an answer to its end: it is lost as well when its connection breaks on the way.
async fn read_answer(answer: Response<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = answer.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| Status::unavailable(format!("connection lost: {}", error.message())))?;
    let is_unavailable = |headers: &HeaderMap| {
        let status = Status::from_header_map(headers);
        status.filter(|status| status.code() == Code::Unavailable)
    };
    let refused = is_unavailable(&parts.headers);
    match refused.or_else(|| body.trailers().and_then(is_unavailable)) {
        Some(refused) => Err(refused),
        None => Ok(Response::from_parts(parts, Body::new(body))),
    }
}

#[cfg(test)]
mod tests;
