//! Request ids and traces: with an id, a request is followed through the logs of all services; with spans, through a
//! collector of traces.
//!
//! ```text
//! client ─▶ gateway: TracedWork::begin ─▶ GrpcChannel: `traceparent: 00-ID-SPAN-01` ─▶ service: TraceLayer ─▶ …
//!                                                                                         │
//! peer ◀─ gateway: span "send delta" ◀─ span "apply change" ◀─ log entry with the traceparent of its commit
//! ```
//!
//! An id is made where work begins: at a client's request in the gateway, at a command of an administrator, and at a
//! call that carries none. A log line that is written meanwhile has it, as `request_id` of its span. Between services it
//! travels in gRPC metadata, in the form of W3C Trace Context. It is taken only from a proven caller, so what clients
//! send never becomes one.
//!
//! The id is the trace's as well. Spans are recorded where [`export`] is switched on, for what a client or an
//! administrator asks and for what follows from it. What services do by themselves, such as asking for heads each second,
//! begins no trace. Without an export a [`WorkSpan`] is empty, and there is no [`TraceParent`] to pass on.

pub mod export;

mod header;
mod layer;
mod parent;
mod work;

use std::fmt;
use std::num::NonZero;

use bowline_clock::random_bytes;
use tokio::task::futures::TaskLocalFuture;
use tracing::Span;

pub(crate) use header::write_header;
pub(crate) use layer::{TraceLayer, TracedRoutes};
pub use parent::{TraceParent, WorkSpan};
pub use work::TracedWork;
pub(crate) use work::note_code;

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
        TracedWork::of_current(TracedWork::id)
    }

    /// Makes this the id of `work`, and of the calls that it makes, without spans. A task that `work` starts is not part of
    /// it.
    pub fn scope<F: Future>(self, work: F) -> TaskLocalFuture<TracedWork, F> {
        TracedWork::without_span(self).scope(work)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// Notes in the span of the request or call which tailnet it is about.
pub fn note_tailnet(tailnet: u64) {
    Span::current().record("tailnet", tailnet);
    work::note_number("bowline.tailnet.id", tailnet);
}

/// Notes in the span of the request or call which node of which tailnet it is about.
pub fn note_node(tailnet: u64, node: u64) {
    Span::current()
        .record("tailnet", tailnet)
        .record("node", node);
    work::note_number("bowline.tailnet.id", tailnet);
    work::note_number("bowline.node.id", node);
}

/// Notes in the span of a client's request how it was answered.
pub fn note_http_status(status: u16) {
    work::note_http_status(status);
}

#[cfg(test)]
mod tests;
