//! Spans, and what they are part of.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZero;
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;
use tonic::Code;

use super::header::CarriedTrace;
use super::{RequestId, TracedWork, export};

/// How many spans something is said to follow from: what comes together is done together.
const MOST_PARENTS: usize = 8;

/// A recorded span that others are part of or follow from, of this process or of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace: RequestId,
    pub(super) span: NonZero<u64>,
}

impl TraceParent {
    /// Returns the span of the work that this is a part of, if it is recorded.
    #[must_use]
    pub fn current() -> Option<Self> {
        TracedWork::of_current(TracedWork::parent).flatten()
    }

    /// Reads the text form; `None` for anything else, and for a span that is not recorded.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        CarriedTrace::parse(text.as_bytes())?.parent
    }

    /// Reads the text forms that entries of a log have; each span once, and the newest of many. Nothing is read unless spans are
    /// exported.
    pub fn parse_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut found = Vec::new();
        if export::is_on() {
            for parent in texts.into_iter().filter_map(Self::parse) {
                Self::add_to_list(&mut found, parent);
            }
        }
        found
    }

    /// Adds a span to those that something follows from; when there are many, the oldest goes.
    pub fn add_to_list(list: &mut Vec<Self>, parent: Self) {
        if list.contains(&parent) {
            return;
        }
        if list.len() == MOST_PARENTS {
            list.remove(0);
        }
        list.push(parent);
    }

    /// Returns the id of the trace, which is that of the request that began it.
    #[must_use]
    pub fn trace(self) -> RequestId {
        self.trace
    }

    fn from_span(span: &Span) -> Option<Self> {
        let context = span.span_context();
        let trace = u128::from_be_bytes(context.trace_id().to_bytes());
        let id = u64::from_be_bytes(context.span_id().to_bytes());
        Some(Self {
            trace: RequestId(NonZero::new(trace)?),
            span: NonZero::new(id)?,
        })
    }

    fn to_span_context(self) -> SpanContext {
        SpanContext::new(
            TraceId::from(self.trace.0.get()),
            SpanId::from(self.span.get()),
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        )
    }
}

/// The form of a `traceparent`.
impl fmt::Display for TraceParent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{:016x}-01", self.trace, self.span)
    }
}

/// A piece of work, recorded from here until it is dropped; empty where nothing is recorded.
///
/// What becomes an attribute goes to another system: numbers of tailnets and nodes, names of RPCs and codes, and nothing of
/// keys, tokens, names or addresses of people.
#[derive(Debug, Default)]
pub struct WorkSpan(Option<Box<Span>>);

impl WorkSpan {
    /// Begins a part of the work that this is a part of.
    #[must_use]
    pub fn begin(name: &'static str) -> Self {
        Self::begin_under(TraceParent::current(), name)
    }

    /// Begins what follows from a span, if there is one.
    #[must_use]
    pub fn begin_under(parent: Option<TraceParent>, name: &'static str) -> Self {
        Self::start(parent, SpanBuilder::from_name(name))
    }

    /// Begins what follows from several spans: it is a part of the last, and has links to the others.
    #[must_use]
    pub fn begin_after(parents: &[TraceParent], name: &'static str) -> Self {
        Self::start_after(parents, SpanBuilder::from_name(name))
    }

    /// Begins the same, for work that has been going on since `begin`.
    #[must_use]
    pub fn begin_after_since(
        parents: &[TraceParent],
        name: &'static str,
        begin: SystemTime,
    ) -> Self {
        let builder = SpanBuilder::from_name(name).with_start_time(begin);
        Self::start_after(parents, builder)
    }

    fn start_after(parents: &[TraceParent], builder: SpanBuilder) -> Self {
        let Some((last, others)) = parents.split_last() else {
            return Self::default();
        };
        let links = others
            .iter()
            .map(|other| Link::with_context(other.to_span_context()));
        Self::start(Some(*last), builder.with_links(links.collect()))
    }

    /// Returns what follows from it, and from what it follows itself: `parents`, with this span in place of its own.
    #[must_use]
    pub fn replace_last(&self, mut parents: Vec<TraceParent>) -> Vec<TraceParent> {
        match (self.parent(), parents.last_mut()) {
            (Some(own), Some(last)) => *last = own,
            _ => parents.clear(),
        }
        parents
    }

    /// Begins a call of an RPC, at its caller or where it is answered.
    pub(super) fn begin_call(parent: Option<TraceParent>, path: &str, kind: SpanKind) -> Self {
        match parent {
            Some(_) => Self::start(parent, describe_call(path, kind)),
            None => Self::default(),
        }
    }

    /// Begins a trace, unless the sampler leaves it out.
    pub(super) fn begin_trace(id: RequestId, builder: SpanBuilder) -> Self {
        let Some(tracer) = export::tracer() else {
            return Self::default();
        };
        let span =
            export::with_trace_id(id, || tracer.build_with_context(builder, &Context::new()));
        Self::keep_recording(span)
    }

    fn start(parent: Option<TraceParent>, builder: SpanBuilder) -> Self {
        let Some((parent, tracer)) = parent.zip(export::tracer()) else {
            return Self::default();
        };
        let context = Context::new().with_remote_span_context(parent.to_span_context());
        Self::keep_recording(tracer.build_with_context(builder, &context))
    }

    fn keep_recording(span: Span) -> Self {
        Self(span.is_recording().then(|| Box::new(span)))
    }

    /// Says whether it is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Returns what its parts are begun under.
    #[must_use]
    pub fn parent(&self) -> Option<TraceParent> {
        TraceParent::from_span(self.0.as_ref()?)
    }

    /// Notes a number.
    pub fn note_number(&mut self, key: &'static str, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.note(KeyValue::new(key, number));
    }

    /// Notes a word, of which there are few.
    pub fn note_word(&mut self, key: &'static str, word: &'static str) {
        self.note(KeyValue::new(key, word));
    }

    /// Notes that it failed.
    pub fn note_failure(&mut self) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(Cow::Borrowed("")));
        }
    }

    /// Notes a moment within it.
    pub fn note_event(&mut self, name: &'static str) {
        if let Some(span) = &mut self.0 {
            span.add_event(name, Vec::new());
        }
    }

    pub(super) fn note_http_status(&mut self, status: u16) {
        self.note(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        if status >= 500 {
            self.note_failure();
        }
    }

    /// Notes how a call was answered.
    pub(crate) fn note_code(&mut self, code: Code) {
        self.note(KeyValue::new(
            "rpc.grpc.status_code",
            i64::from(i32::from(code)),
        ));
        // What a caller does wrong is no failure of the service (OpenTelemetry's conventions for gRPC servers).
        let failures = [
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::Unimplemented,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
        ];
        if failures.contains(&code) {
            self.note_failure();
        }
    }

    fn note(&mut self, attribute: KeyValue) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(attribute);
        }
    }
}

/// Describes a call; only declared paths come here, so that there are few names.
pub(super) fn describe_call(path: &str, kind: SpanKind) -> SpanBuilder {
    let name = path.trim_start_matches('/');
    let (service, method) = name.split_once('/').unwrap_or(("", name));
    SpanBuilder::from_name(name.to_owned())
        .with_kind(kind)
        .with_attributes([
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service.to_owned()),
            KeyValue::new("rpc.method", method.to_owned()),
        ])
}
