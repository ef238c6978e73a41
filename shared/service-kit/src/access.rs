//! Decides for every RPC whether its caller may make it; what is not declared is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_proto::access::{CallerKind, rules};
use futures_util::future::{Either, Ready, ready};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo};
use tower::{Layer, Service};

use crate::Caller;
use crate::connection_slots::SlotHandle;

/// Services that any proven caller may ask.
const OPEN: [&str; 2] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
];

/// Which kinds of caller each RPC serves: a layer around gRPC routes.
///
/// It proves the caller from the connection and leaves a [`Caller`] in the request.
#[derive(Clone, Debug)]
pub struct AccessRules(Arc<BTreeMap<&'static str, &'static [CallerKind]>>);

impl AccessRules {
    /// Returns the rules declared in the `.proto` files.
    #[must_use]
    pub fn from_declarations() -> Self {
        Self::new(rules())
    }

    /// Returns these rules: path of the RPC, and who may call it.
    #[must_use]
    pub fn new(rules: &[(&'static str, &'static [CallerKind])]) -> Self {
        Self(Arc::new(rules.iter().copied().collect()))
    }

    /// Decides about one call.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` without a caller; `PermissionDenied` when the RPC is not declared for it.
    pub fn check_call(&self, path: &str, caller: Option<&Caller>) -> Result<(), Status> {
        let Some(caller) = caller else {
            return Err(Status::unauthenticated(
                "a client certificate of this deployment is needed",
            ));
        };
        if OPEN.iter().any(|service| path.starts_with(service)) {
            return Ok(());
        }
        match self.0.get(path) {
            Some(roles) if roles.contains(&caller.role()) => Ok(()),
            _ => Err(Status::permission_denied(format!(
                "{caller} may not call {path}"
            ))),
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

impl<S, B> Service<http::Request<B>> for GuardedRoutes<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let caller = prove_caller(request.extensions());
        let verdict = self
            .access
            .check_call(request.uri().path(), caller.as_ref());
        match verdict {
            Ok(()) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                Either::Left(self.routes.call(request))
            }
            Err(refusal) => {
                tracing::warn!(
                    path = request.uri().path(),
                    refusal = refusal.message(),
                    "call refused"
                );
                metrics::counter!("bowline_rpc_refused_total").increment(1);
                Either::Right(ready(Ok(refusal.into_http())))
            }
        }
    }
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
