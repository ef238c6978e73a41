//! Decides for every RPC whether its caller may make it; what is not declared is refused.

use std::mem;
use std::net::IpAddr;
use std::task::{Context, Poll};

use bowline_proto::access::{CallerKind, find_rule};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, Ready, ready};
use http::{HeaderMap, header};
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::connection_slots::SlotHandle;
use crate::status::deny_call;
use crate::{Caller, CallerVersions, ServiceName, TokenVerifier};

mod token;

pub use token::read_bearer_token;

/// Services that any proven caller may ask.
const OPEN: [&str; 2] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
];

/// Says whether any proven caller may call this.
#[must_use]
pub fn is_open(path: &str) -> bool {
    OPEN.iter().any(|service| path.starts_with(service))
}

/// Which kinds of caller each RPC serves: a layer around gRPC routes.
///
/// It proves the caller from the connection and leaves a [`Caller`] in the request. A gateway that passes on a token calls
/// for the token's holder: what the gateway itself may do does not count then.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    tokens: Option<TokenVerifier>,
    versions: CallerVersions,
}

impl AccessRules {
    /// Returns the rules declared in the `.proto` files. Without a verifier no token is taken.
    #[must_use]
    pub fn from_declarations(tokens: Option<TokenVerifier>) -> Self {
        Self {
            tokens,
            versions: CallerVersions::default(),
        }
    }

    /// Notes which releases the services are that call over the network, and refuses those that are too old.
    #[must_use]
    pub(crate) fn with_versions(mut self, versions: CallerVersions) -> Self {
        self.versions = versions;
        self
    }

    /// Checks the release of a service that calls over the network: one in this process is of the same.
    fn check_release(&self, caller: Option<&Caller>, headers: &HeaderMap) -> Result<(), Status> {
        match caller {
            Some(Caller::Service(service)) => self.versions.admit_caller(*service, headers),
            _ => Ok(()),
        }
    }

    /// Decides about one call of a caller who is proven otherwise than by a token.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` without a caller; `PermissionDenied` when the RPC is not declared for it.
    pub fn check_call(path: &str, caller: Option<&Caller>) -> Result<(), Status> {
        let Some(caller) = caller else {
            return Err(Status::unauthenticated(
                "a client certificate of this deployment is needed",
            ));
        };
        if is_open(path) {
            return Ok(());
        }
        let kinds: &[CallerKind] = find_rule(path).map_or(&[], |rule| rule.callers);
        match caller.kind() {
            Some(kind) if kinds.contains(&kind) => Ok(()),
            _ => Err(deny_call(format!("{caller} may not call {path}"))),
        }
    }
}

impl<S> Layer<S> for AccessRules {
    type Service = GuardedRoutes<S>;

    fn layer(&self, routes: S) -> GuardedRoutes<S> {
        GuardedRoutes {
            access: self.clone(),
            routes,
        }
    }
}

/// Routes behind an [`AccessRules`].
#[derive(Clone, Debug)]
pub struct GuardedRoutes<S> {
    access: AccessRules,
    routes: S,
}

/// What a call ends in: at once, or after the token was looked at.
type GuardedAnswer<F, E> = Either<
    F,
    Either<
        Ready<Result<http::Response<Body>, E>>,
        BoxFuture<'static, Result<http::Response<Body>, E>>,
    >,
>;

impl<S> Service<http::Request<Body>> for GuardedRoutes<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GuardedAnswer<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let caller = prove_caller(request.extensions());
        let is_remote = request.extensions().get::<Caller>().is_none();
        if is_remote
            && let Err(refusal) = self
                .access
                .check_release(caller.as_ref(), request.headers())
        {
            let refusal = refuse_call(request.uri().path(), refusal);
            return Either::Right(Either::Left(ready(Ok(refusal))));
        }
        let is_by_token = request.headers().contains_key(header::AUTHORIZATION);
        let verdict = match (&caller, &self.access.tokens) {
            (Some(Caller::Service(ServiceName::NetmapGateway)), Some(verifier)) if is_by_token => {
                let verifier = verifier.clone();
                // The clone has not been asked whether it is ready; the one here has.
                let ready = self.routes.clone();
                let mut routes = mem::replace(&mut self.routes, ready);
                let answer = async move {
                    match token::admit_request(&verifier, request).await {
                        Ok(request) => routes.call(request).await,
                        Err((path, refusal)) => Ok(refuse_call(&path, refusal)),
                    }
                };
                return Either::Right(Either::Right(answer.boxed()));
            }
            (Some(_), _) if is_by_token => Err(Status::unauthenticated(
                "tokens are taken at the administration address, not here",
            )),
            _ => AccessRules::check_call(request.uri().path(), caller.as_ref()),
        };
        match verdict {
            Ok(()) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Either::Left(self.routes.call(request))
            }
            Err(refusal) => {
                let refusal = refuse_call(request.uri().path(), refusal);
                Either::Right(Either::Left(ready(Ok(refusal))))
            }
        }
    }
}

fn refuse_call(path: &str, refusal: Status) -> http::Response<Body> {
    match refusal.code() {
        // Anybody can send a wrong token.
        Code::Unauthenticated => {
            tracing::debug!(path, refusal = refusal.message(), "call refused");
        }
        _ => tracing::warn!(path, refusal = refusal.message(), "call refused"),
    }
    metrics::counter!("bowline_rpc_refused_total").increment(1);
    refusal.into_http()
}

/// Returns the address at the other end of a connection over the network.
pub(crate) fn peer_address(extensions: &http::Extensions) -> Option<IpAddr> {
    let connection = extensions.get::<TlsConnectInfo<(TcpConnectInfo, SlotHandle<()>)>>()?;
    Some(connection.get_ref().0.remote_addr()?.ip())
}

/// Finds out who is calling from what the transport left in the request; nothing a client sends gets there.
fn prove_caller(extensions: &http::Extensions) -> Option<Caller> {
    if let Some(caller) = extensions.get::<Caller>() {
        return Some(caller.clone());
    }
    if let Some(connection) = extensions.get::<TlsConnectInfo<(TcpConnectInfo, SlotHandle<()>)>>() {
        let caller = Caller::from_certificate(connection.peer_certs()?.first()?)?;
        connection.get_ref().1.mark_known(());
        return Some(caller);
    }
    // The socket's mode lets only its owner and root in. Whoever came before the mode was set is nobody.
    let (socket, _) = extensions.get::<(UdsConnectInfo, SlotHandle<()>)>()?;
    let account = socket.peer_cred?.uid();
    if account != 0 && account != rustix::process::geteuid().as_raw() {
        return None;
    }
    Some(Caller::Admin {
        name: format!("uid-{account}"),
    })
}
