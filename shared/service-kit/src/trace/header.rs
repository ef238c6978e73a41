//! The header that carries an id and a span from one service to the next.

use std::net::IpAddr;
use std::num::NonZero;

use bowline_clock::random_bytes;
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::SpanKind;

use super::{RequestId, TraceParent, TracedWork, WorkSpan};

/// The header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";
/// The header that carries the address of the client whose request a service answers.
const SOURCE: &str = "bowline-source";

/// What a call says of the work that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CarriedTrace {
    pub(super) id: RequestId,
    /// The caller's span, where the caller records it.
    pub(super) parent: Option<TraceParent>,
}

impl CarriedTrace {
    /// Reads a `traceparent`: version 00, an id of 32 digits, the caller's span of 16, flags of 2; in lower case, and no
    /// id of zeros. The lowest flag says that the caller records its span.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() == 55)?;
        let mut parts = text.split('-');
        let mut next = |length| {
            let part = parts.next().filter(|part| part.len() == length)?;
            let is_lower = |digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            part.bytes().all(is_lower).then_some(part)
        };
        let (version, id, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let id = RequestId(NonZero::new(u128::from_str_radix(id, 16).ok()?)?);
        let span = NonZero::new(u64::from_str_radix(span, 16).ok()?)?;
        let is_recorded = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        let parent = is_recorded.then_some(TraceParent { trace: id, span });
        (version == "00").then_some(Self { id, parent })
    }

    /// Reads what a call carries, if it carries a single valid one.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            _ => None,
        }
    }
}

/// Returns the address that a service says it answers.
pub(super) fn read_source(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(SOURCE)?.to_str().ok()?.parse().ok()
}

/// Lets a call carry the id of the work that makes it; returns the call's span.
pub(crate) fn write_header<B>(request: &mut http::Request<B>) -> WorkSpan {
    let Some((id, parent)) = TracedWork::of_current(|work| (work.id(), work.parent())) else {
        return WorkSpan::default();
    };
    let source = TracedWork::current_source();
    if let Some(source) = source.and_then(|source| HeaderValue::try_from(source.to_string()).ok()) {
        request.headers_mut().insert(SOURCE, source);
    }
    let span = WorkSpan::begin_call(parent, request.uri().path(), SpanKind::Client);
    let text = match span.parent() {
        Some(parent) => parent.to_string(),
        // The form wants a span. The flags say that it is not recorded.
        None => {
            let call = u64::from_be_bytes(random_bytes()).max(1);
            format!("00-{id}-{call:016x}-00")
        }
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
    span
}

#[cfg(test)]
mod tests;
