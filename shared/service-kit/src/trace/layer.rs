//! The layer of a server that takes over the caller's trace.

use std::net::IpAddr;
use std::task::{Context, Poll};

use opentelemetry::trace::SpanKind;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};
use tracing::instrument::{Instrument as _, Instrumented};
use tracing::{Span, field};

use super::header::{self, CarriedTrace};
use super::parent::describe_call;
use super::{RequestId, TracedWork, WorkSpan};
use crate::{Caller, access};

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
    type Future = Instrumented<TaskLocalFuture<TracedWork, S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let caller = request.extensions().get::<Caller>();
        let carried = caller.and_then(|_| CarriedTrace::read(request.headers()));
        let path = request.uri().path();
        let source = find_source(caller, &request);
        let work = begin_work(caller, carried, path).with_source(source);
        let span = span_for_logs(&work, caller, path);
        let answer = work.sync_scope(|| span.in_scope(|| self.0.call(request)));
        work.scope(answer).instrument(span)
    }
}

/// Returns the address that a change is asked for from: an operator's own, and whom a service answers as it says.
fn find_source<B>(caller: Option<&Caller>, request: &http::Request<B>) -> Option<IpAddr> {
    match caller? {
        Caller::Admin { .. } => access::peer_address(request.extensions()),
        Caller::Service(_) | Caller::Token(_) => header::read_source(request.headers()),
    }
}

fn span_for_logs(work: &TracedWork, caller: Option<&Caller>, path: &str) -> Span {
    tracing::info_span!(
        "rpc",
        request_id = %work.id(),
        path,
        caller = caller.map(field::display),
        tailnet = field::Empty,
        node = field::Empty,
    )
}

/// Decides whose trace a call belongs to. A service decides for what it calls: with a recorded span, or with none. An
/// administrator's command exports nothing itself, so the trace begins here, with the command's id.
fn begin_work(caller: Option<&Caller>, carried: Option<CarriedTrace>, path: &str) -> TracedWork {
    let id = carried.map_or_else(RequestId::random, |carried| carried.id);
    let parent = carried.and_then(|carried| carried.parent);
    let span = match caller {
        Some(Caller::Admin { .. }) if parent.is_none() => {
            WorkSpan::begin_trace(id, describe_call(path, SpanKind::Server))
        }
        _ => WorkSpan::begin_call(parent, path, SpanKind::Server),
    };
    TracedWork::with_span(id, span)
}
