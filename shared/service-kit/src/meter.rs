//! Counts and times every RPC that its caller may make, and leaves one line of log for it.

use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::trace;

/// A layer around routes, inside [`AccessRules`](crate::AccessRules), so that only declared paths become labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeterLayer;

impl<S> Layer<S> for MeterLayer {
    type Service = MeteredRoutes<S>;

    fn layer(&self, routes: S) -> MeteredRoutes<S> {
        MeteredRoutes(routes)
    }
}

/// Routes whose calls are counted.
#[derive(Clone, Debug)]
pub(crate) struct MeteredRoutes<S>(S);

impl<S, B> Service<http::Request<B>> for MeteredRoutes<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mut call = MeteredCall {
            path: request.uri().path().to_owned(),
            begin: Instant::now(),
            code: None,
        };
        let answer = self.0.call(request);
        async move {
            let answer = answer.await?;
            // A call that fails before its first message says so in the headers.
            let status = Status::from_header_map(answer.headers());
            call.note_answer(status.map_or(Code::Ok, |status| status.code()));
            Ok(answer)
        }
        .boxed()
    }
}

/// A call under way; it is counted when it ends, also when its caller gives up.
struct MeteredCall {
    path: String,
    begin: Instant,
    code: Option<Code>,
}

impl MeteredCall {
    fn note_answer(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        let elapsed = self.begin.elapsed();
        let code = self.code.unwrap_or(Code::Cancelled);
        trace::note_code(code);
        let path = std::mem::take(&mut self.path);
        tracing::debug!(
            path,
            ?code,
            duration_ms = elapsed.as_millis(),
            "call answered"
        );
        metrics::histogram!("bowline_rpc_seconds", "path" => path, "code" => format!("{code:?}"))
            .record(elapsed.as_secs_f64());
    }
}
