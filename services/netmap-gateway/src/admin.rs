//! The administration address: gRPC of people and programs who call by tokens, passed on to the services behind.
//!
//! ```text
//! program ─TLS, "authorization: Bearer …"─▶ here ─┬─ /bowline.identity.v1.…      ─▶ identity
//!                                                 ├─ /bowline.key_registry.v1.…  ─▶ key registry
//!                                                 ├─ /bowline.policy.v1.…        ─▶ policy compiler
//!                                                 └─ health, reflection          answered here
//! ```
//!
//! The token goes along, and each service finds out by itself whose it is and what it may do: the gateway's own certificate
//! grants nothing. A call without a token, or of an RPC that serves none, ends here. So does what comes too often: by
//! address, by user, by token. Connections are bounded as those of clients are.

mod limits;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, Request, Response, header},
    response::IntoResponse as _,
};
use bowline_proto::access::{IDEMPOTENCY_KEY, Principal, find_rule};
use bowline_service_kit::{
    GrpcChannel, ServeError, TokenVerifier, access, introspection, to_status,
};
use http_body_util::{BodyExt as _, Limited};
use tonic::{Code, Status, service::Routes};
use tower::ServiceExt as _;

use crate::{Backends, listener::Connection};
use limits::AdminLimits;

/// The longest request, in bytes: a policy, and any other.
const LONGEST_POLICY: usize = 17 << 20;
const LONGEST_REQUEST: usize = 1 << 20;
/// How long a program may take to send a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// The headers that are passed on. What else a program sends means nothing to the services.
const PASSED_ON: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::TE,
    header::AUTHORIZATION,
    HeaderName::from_static(IDEMPOTENCY_KEY),
];
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// What the administration address needs.
#[derive(Debug)]
struct AdminGate {
    backends: Backends,
    tokens: TokenVerifier,
    limits: AdminLimits,
    introspection: Routes,
}

/// Returns what is served at the administration address. `descriptors` is what reflection tells.
///
/// # Errors
///
/// When the descriptors do not parse.
pub(crate) fn admin_routes(backends: Backends, descriptors: &[u8]) -> Result<Router, ServeError> {
    let gate = AdminGate {
        tokens: TokenVerifier::new(backends.identity.clone()),
        limits: AdminLimits::default(),
        introspection: introspection(descriptors)?,
        backends,
    };
    Ok(Router::new()
        .fallback(answer_call)
        .with_state(Arc::new(gate)))
}

async fn answer_call(State(gate): State<Arc<AdminGate>>, request: Request<Body>) -> Response<Body> {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let text = "this is the administration address: it speaks gRPC, see `bowline --address` and the API's README\n";
        return (axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response();
    }
    match gate.pass_call(request).await {
        Ok(answer) => answer,
        Err(refusal) => {
            let code = refusal.code();
            tracing::debug!(
                ?code,
                refusal = refusal.message(),
                "an administrative call is refused"
            );
            metrics::counter!("bowline_gateway_admin_calls_refused_total").increment(1);
            refusal.into_http()
        }
    }
}

impl AdminGate {
    /// Passes a call on to the service that answers it.
    async fn pass_call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let connection = request.extensions().get::<Connection>().cloned();
        let connection =
            connection.ok_or_else(|| Status::internal("the call has no connection"))?;
        let network = connection.network();
        let now = tokio::time::Instant::now().into_std();
        self.limits
            .check_failures(network, now)
            .map_err(|refusal| to_status(&refusal))?;
        let principal = match self.find_principal(request.headers()).await {
            Ok(principal) => principal,
            Err(refusal) => {
                if refusal.code() == Code::Unauthenticated {
                    self.limits.count_failure(network, now);
                }
                return Err(refusal);
            }
        };
        connection.uncount_requests();
        self.limits
            .take_turn(&principal, now)
            .map_err(|refusal| to_status(&refusal))?;
        let path = request.uri().path();
        if access::is_open(path) {
            let answer = self
                .introspection
                .clone()
                .oneshot(request.map(tonic::body::Body::new));
            return Ok(answer
                .await
                .unwrap_or_else(|never| match never {})
                .map(Body::new));
        }
        if find_rule(path).is_none_or(|rule| rule.tokens.is_empty()) {
            let text = format!("no token may call {path}: it is for operators, or is not there");
            return Err(Status::permission_denied(text));
        }
        let (channel, longest) = self.find_owner(path)?;
        let request = read_request(request, longest).await?;
        let answer = channel.oneshot(request).await?;
        Ok(answer.map(Body::new))
    }

    async fn find_principal(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Status> {
        let token = access::read_bearer_token(headers)?;
        self.tokens.find_principal(token).await
    }

    /// Returns the way to the service that answers an RPC, and how long a request of it may be.
    fn find_owner(&self, path: &str) -> Result<(GrpcChannel, usize), Status> {
        let package = path.trim_start_matches('/');
        let owners = [
            (
                "bowline.identity.v1.",
                &self.backends.identity,
                LONGEST_REQUEST,
            ),
            (
                "bowline.key_registry.v1.",
                &self.backends.registry,
                LONGEST_REQUEST,
            ),
            (
                "bowline.policy.v1.",
                &self.backends.compiler,
                LONGEST_POLICY,
            ),
        ];
        owners
            .into_iter()
            .find(|(prefix, ..)| package.starts_with(prefix))
            .map(|(_, channel, longest)| (channel.clone(), longest))
            .ok_or_else(|| Status::unimplemented(format!("there is no {path}")))
    }
}

/// Reads a request whole, with the headers that mean something.
async fn read_request(
    request: Request<Body>,
    longest: usize,
) -> Result<Request<tonic::body::Body>, Status> {
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(GRPC_ENCODING) && parts.headers[GRPC_ENCODING] != "identity" {
        return Err(Status::unimplemented("compressed requests are not taken"));
    }
    let reading = tokio::time::timeout(PATIENCE, Limited::new(body, longest).collect());
    let body = match reading.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            let text = format!("the request is cut short, or longer than {longest} bytes");
            return Err(Status::resource_exhausted(text));
        }
        Err(_) => {
            return Err(Status::deadline_exceeded(
                "the request did not come in time",
            ));
        }
    };
    let mut passed = Request::new(tonic::body::Body::new(http_body_util::Full::new(body)));
    *passed.uri_mut() = parts.uri;
    *passed.method_mut() = parts.method;
    *passed.version_mut() = axum::http::Version::HTTP_2;
    for name in PASSED_ON.iter().chain([&GRPC_TIMEOUT]) {
        if let Some(value) = parts.headers.get(name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    Ok(passed)
}

/// The `[admin]` address does not fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "admin.listen = \"{0}\" would carry tokens without TLS: set certificate_file and key_file, or listen on loopback behind what speaks TLS"
)]
pub struct PlainAdminAddress(pub SocketAddr);

/// Checks that tokens are not carried in the clear.
pub(crate) fn check_address(listen: SocketAddr, has_tls: bool) -> Result<(), PlainAdminAddress> {
    match has_tls || listen.ip().is_loopback() {
        true => Ok(()),
        false => Err(PlainAdminAddress(listen)),
    }
}

#[cfg(test)]
mod tests;
