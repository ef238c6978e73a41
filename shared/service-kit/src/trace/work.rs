//! The work that a task is doing: a request or a call, with its id and its span.

use std::net::IpAddr;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanBuilder, SpanKind};
use parking_lot::Mutex;
use tokio::task::futures::TaskLocalFuture;
use tonic::Code;

use super::{RequestId, TraceParent, WorkSpan};

tokio::task_local! {
    static CURRENT: TracedWork;
}

/// A request or a call that is being answered. Its span ends with the last clone.
#[derive(Clone, Debug)]
pub struct TracedWork {
    id: RequestId,
    parent: Option<TraceParent>,
    span: Option<Arc<Mutex<WorkSpan>>>,
    source: Option<IpAddr>,
}

impl TracedWork {
    /// Begins the answer to a client's request; `endpoint` is one of few names.
    #[must_use]
    pub fn begin(endpoint: &'static str) -> Self {
        let id = RequestId::random();
        let builder = SpanBuilder::from_name(endpoint)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("http.route", endpoint)]);
        Self::with_span(id, WorkSpan::begin_trace(id, builder))
    }

    pub(super) fn without_span(id: RequestId) -> Self {
        Self::with_span(id, WorkSpan::default())
    }

    pub(super) fn with_span(id: RequestId, span: WorkSpan) -> Self {
        Self {
            id,
            parent: span.parent(),
            span: span.is_recorded().then(|| Arc::new(Mutex::new(span))),
            source: None,
        }
    }

    /// Notes the address that asks, for the audit trail: whatever the work changes says where that was asked.
    #[must_use]
    pub fn with_source(self, source: Option<IpAddr>) -> Self {
        Self {
            source: source.map(|address| address.to_canonical()),
            ..self
        }
    }

    /// Returns the address that asked for the work that this is a part of, where it is known.
    #[must_use]
    pub fn current_source() -> Option<IpAddr> {
        Self::of_current(|work| work.source).flatten()
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Returns its span, if that is recorded.
    #[must_use]
    pub fn parent(&self) -> Option<TraceParent> {
        self.parent
    }

    /// Makes this the work that `work` and its calls are part of. A task that it starts is not part of it.
    pub fn scope<F: Future>(self, work: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, work)
    }

    pub(super) fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    pub(super) fn of_current<T>(look: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(look).ok()
    }
}

fn note_in_span(note: impl FnOnce(&mut WorkSpan)) {
    TracedWork::of_current(|work| {
        if let Some(span) = &work.span {
            note(&mut span.lock());
        }
    });
}

pub(super) fn note_number(key: &'static str, number: u64) {
    note_in_span(|span| span.note_number(key, number));
}

pub(super) fn note_http_status(status: u16) {
    note_in_span(|span| span.note_http_status(status));
}

/// Notes how the call that is being answered was answered.
pub(crate) fn note_code(code: Code) {
    note_in_span(|span| span.note_code(code));
}
