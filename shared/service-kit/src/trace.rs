//! Request ids: with one, a request is followed through all services.
//!
//! ```text
//! client ─▶ gateway: RequestId::random, span "request"
//!              └─▶ GrpcChannel: `traceparent: 00-ID-CALL-01` ─▶ service: span "rpc" with the same id ─▶ GrpcChannel ─▶ …
//! ```
//!
//! An id is made where work begins: at a client's request in the gateway, at a command of an administrator, and at a
//! call that carries none. A log line that is written meanwhile has it, as `request_id` of its span. Between services it
//! travels in gRPC metadata, in the form of W3C Trace Context. It is taken only from a proven caller, so what clients
//! send never becomes one.

use std::fmt;
use std::num::NonZero;
use std::task::{Context, Poll};

use bowline_clock::random_bytes;
use http::{HeaderMap, HeaderValue};
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};
use tracing::instrument::{Instrument as _, Instrumented};
use tracing::{Span, field};

use crate::Caller;

/// The header that carries an id.
const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of one request: 128 random bits, other than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(NonZero<u128>);

impl RequestId {
    /// Returns an id that nobody can guess.
    #[must_use]
    pub fn random() -> Self {
        let random = u128::from_be_bytes(random_bytes());
        Self(NonZero::new(random).unwrap_or(NonZero::<u128>::MIN))
    }

    /// Returns the id of the work that this is a part of.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|id| *id).ok()
    }

    /// Makes this the id of `work`, and of the calls that it makes. A task that `work` starts is not part of it.
    pub fn scope<F: Future>(self, work: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, work)
    }

    /// Reads a `traceparent`: version 00, an id of 32 digits, the caller's span of 16, flags of 2; in lower case, and no
    /// id of zeros.
    fn from_traceparent(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() == 55)?;
        let mut parts = text.split('-');
        let mut next = |length| {
            let part = parts.next().filter(|part| part.len() == length)?;
            let is_lower = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            part.bytes().all(is_lower).then_some(part)
        };
        let (version, id, caller, _flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let id = NonZero::new(u128::from_str_radix(id, 16).ok()?)?;
        let is_whole = version == "00" && caller.bytes().any(|digit| digit != b'0');
        is_whole.then_some(Self(id))
    }

    /// Returns the `traceparent` of one call.
    fn to_traceparent(self) -> Option<HeaderValue> {
        let call = u64::from_be_bytes(random_bytes()).max(1);
        HeaderValue::try_from(format!("00-{self}-{call:016x}-01")).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// Returns the id that a call carries, if it carries a single valid one.
fn read_header(headers: &HeaderMap) -> Option<RequestId> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => RequestId::from_traceparent(value.as_bytes()),
        _ => None,
    }
}

/// Lets a call carry the id of the work that makes it.
pub(crate) fn write_header(headers: &mut HeaderMap) {
    if let Some(header) = RequestId::current().and_then(RequestId::to_traceparent) {
        headers.insert(TRACEPARENT, header);
    }
}

/// Notes in the span of the request or call which tailnet it is about.
pub fn note_tailnet(tailnet: u64) {
    Span::current().record("tailnet", tailnet);
}

/// Notes in the span of the request or call which node of which tailnet it is about.
pub fn note_node(tailnet: u64, node: u64) {
    Span::current()
        .record("tailnet", tailnet)
        .record("node", node);
}

/// A layer around routes, inside [`AccessRules`](crate::AccessRules): each call has a span with its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = TracedRoutes<S>;

    fn layer(&self, routes: S) -> TracedRoutes<S> {
        TracedRoutes(routes)
    }
}

/// Routes whose calls have spans.
#[derive(Clone, Debug)]
pub(crate) struct TracedRoutes<S>(S);

impl<S, B> Service<http::Request<B>> for TracedRoutes<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<TaskLocalFuture<RequestId, S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let carried = caller.and_then(|_| read_header(request.headers()));
        let id = carried.unwrap_or_else(RequestId::random);
        let span = tracing::info_span!(
            "rpc",
            request_id = %id,
            path = request.uri().path(),
            caller = caller.map(field::display),
            tailnet = field::Empty,
            node = field::Empty,
        );
        let answer = CURRENT.sync_scope(id, || span.in_scope(|| self.0.call(request)));
        id.scope(answer).instrument(span)
    }
}

#[cfg(test)]
mod tests;
